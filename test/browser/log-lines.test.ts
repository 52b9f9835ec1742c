import { parse } from 'graphql';
import { expect, test } from 'vitest';
// @ts-expect-error a script of the page, which has no types
import { addUpLogs } from '../../api/http/graphiql/log-lines.js';

const add = (document: string): ((result: object) => unknown) => addUpLogs(parse(document).definitions[0]);
const batch = (first: number, last: number, text: string) => ({ firstNumber: first, lastNumber: last, text });

test('a log in GraphiQL drops its oldest batches beyond 200,000 characters', () => {
  const addUp = add('subscription { log: jobLogs(jobId: "x") { firstNumber lastNumber text } }');
  const part = 'a'.repeat(90_000);
  for (const n of [1, 2]) addUp({ data: { log: batch(n, n, part) } });
  expect(addUp({ data: { log: batch(3, 3, part) } })).toEqual({ data: { log: batch(2, 3, part + part) } });
  const long = 'b'.repeat(300_000);
  expect(addUp({ data: { log: batch(4, 4, long) } })).toEqual({ data: { log: batch(4, 4, long) } });
});

test('other subscriptions, and errors, are shown as they come', () => {
  const addUp = add('subscription { jobUpdated(jobId: "x") { status } }');
  for (const result of [{ data: { jobUpdated: { status: 'RUNNING' } } }, { errors: [{ message: 'x' }] }])
    expect(addUp(result)).toBe(result);
});
