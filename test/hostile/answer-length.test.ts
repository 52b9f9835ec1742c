import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { insertChunks } from '../../db/logs/append.ts';
import { formatLine } from '../../domain/logs/encode.ts';
import { packLines } from '../../domain/logs/packing.ts';
import { createWorkflow, type Person, person, query, type TestApi, testApi } from '../api/support.ts';
import { insertJob } from '../support/jobs.ts';

const TOO_LONG = expect.stringContaining('The answer has more than 16777216 characters');
const ALIASES = 30;
const LINES = 1_000;

/** The field, and again under as many aliases as a document may have. */
function many(field: string): string {
  return [field, ...Array.from({ length: ALIASES }, (_, n) => `a${n}: ${field}`)].join(' ');
}

describe('an answer that contains the same texts under many aliases', () => {
  let api: TestApi;
  let ann: Person;
  let jobId: string;
  beforeAll(async () => {
    api = await testApi();
    ann = await person(api);
    for (let n = 0; n < 10; n += 1) {
      const heartbeat = { endpoint: 'http://example.com', method: 'POST', body: 'b'.repeat(60_000) };
      await createWorkflow(api, ann, { payload: { heartbeat } });
      const container = { image: 'alpine:3', args: Array.from({ length: 15_000 }, () => 'a') };
      await createWorkflow(api, ann, { payload: { container } });
    }
    jobId = await insertJob(api.db, ann.id, { status: 'COMPLETED', completedAt: new Date(), logLineCount: LINES });
    const line = formatLine('STDOUT', '2026-01-01T00:00:00Z', 'x'.repeat(600));
    const lines = await packLines(Buffer.from(line.repeat(LINES)));
    await insertChunks(api.db, [{ sourceId: jobId, attempt: 1, firstNumber: 1, lastNumber: LINES, lines }]);
  });
  afterAll(() => api.close());

  const definitions = (count: number, selection: string) =>
    `{ workflows(first: ${count}) { nodes { definition { ${selection} } } } }`;

  test.each([
    ['a text of a definition', `... on HeartbeatDefinition { ${many('body')} }`],
    ['a list of a definition', `... on ContainerDefinition { ${many('args')} }`],
  ])('is refused when %s makes it too long', async (_, selection) => {
    expect((await query(api, definitions(2, selection), ann)).errors).toBeUndefined();
    expect((await query(api, definitions(20, selection), ann)).errors?.[0]).toMatchObject({ message: TOO_LONG });
  });

  test('is refused when lines of a log make it too long', async () => {
    const lines = (field: string) => `{ job(id: "${jobId}") { logs(first: ${LINES}) { nodes { ${field} } } } }`;
    expect((await query(api, lines('text again: text'), ann)).errors).toBeUndefined();
    expect((await query(api, lines(many('text')), ann)).errors?.[0]).toMatchObject({ message: TOO_LONG });
  });
});
