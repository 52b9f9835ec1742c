import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { insertChunks } from '../../db/logs/append.ts';
import { newId } from '../../domain/ids.ts';
import { formatLine } from '../../domain/logs/encode.ts';
import type { LogLine } from '../../domain/logs/line.ts';
import { packLines } from '../../domain/logs/packing.ts';
import { insertJob } from '../support/jobs.ts';
import { codes, createWorkflow, type Person, person, query, type TestApi, testApi } from './support.ts';

interface Page {
  edges: { cursor: string }[];
  nodes: { number: number; stream: LogLine['stream']; text: string }[];
  pageInfo: { hasNextPage: boolean; hasPreviousPage: boolean; startCursor: string | null; endCursor: string | null };
}

interface Asked {
  first?: number;
  last?: number;
  after?: string | null;
  before?: string | null;
  stream?: LogLine['stream'] | undefined;
  search?: string | undefined;
}

const DOCUMENT = `query ($id: ID!, $first: Int, $last: Int, $after: String, $before: String, $stream: LogStream, $search: String) {
  job(id: $id) { logs(first: $first, last: $last, after: $after, before: $before, stream: $stream, search: $search) {
    edges { cursor } nodes { number stream text } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } } }`;

describe('a page of a log', () => {
  let api: TestApi;
  let ann: Person;
  beforeAll(async () => {
    api = await testApi();
    ann = await person(api);
  });
  afterAll(() => api.close());

  const newJob = (logLineCount: number, changes: { workflowId?: string } = {}) =>
    insertJob(api.db, ann.id, { status: 'COMPLETED', completedAt: new Date(), logLineCount, ...changes });

  /** Stores the lines as chunks with these first and last numbers. */
  async function store(sourceId: string, lines: Pick<LogLine, 'stream' | 'text'>[], spans: [number, number][]) {
    const chunks = spans.map(async ([firstNumber, lastNumber]) => {
      const text = lines
        .slice(firstNumber - 1, lastNumber)
        .map((line) => formatLine(line.stream, '2026-01-01T00:00:00.123456789Z', line.text));
      return { sourceId, firstNumber, lastNumber, attempt: 1, lines: await packLines(Buffer.from(text.join(''))) };
    });
    await insertChunks(api.db, await Promise.all(chunks));
  }

  async function page(id: string, asked: Asked): Promise<Page> {
    const answer = await query(api, DOCUMENT, { token: ann.token, variables: { id, ...asked } });
    if (answer.errors) throw new Error(answer.errors[0]?.message);
    return answer.data.job.logs;
  }

  async function forwards(id: string, asked: Asked): Promise<Page['nodes']> {
    const all: Page['nodes'] = [];
    for (let after: string | null = null; ; ) {
      const { nodes, pageInfo } = await page(id, { ...asked, after });
      all.push(...nodes);
      if (!pageInfo.hasNextPage) return all;
      expect(pageInfo.endCursor).not.toBe(after);
      after = pageInfo.endCursor;
    }
  }

  async function backwards(id: string, { first, ...asked }: Asked): Promise<Page['nodes']> {
    const all: Page['nodes'] = [];
    for (let before: string | null = null; ; ) {
      const { nodes, pageInfo } = await page(id, { ...asked, last: first ?? 100, before });
      all.unshift(...nodes);
      if (!pageInfo.hasPreviousPage) return all;
      expect(pageInfo.startCursor).not.toBe(before);
      before = pageInfo.startCursor;
    }
  }

  /**
   * The chunks into which a worker divides lines. Another worker that takes over continues from
   * what is stored by then.
   */
  const cuts = (from: number, to: number, sizes: number[]): [number, number][] => {
    const spans: [number, number][] = [];
    for (let first = from, n = 0; first <= to; n += 1) {
      const last = Math.min(to, first + (sizes[n % sizes.length] ?? 1) - 1);
      spans.push([first, last]);
      first = last + 1;
    }
    return spans;
  };

  test('has the lines of its own log among many that are read together, also if they fill several statements', async () => {
    const { workflow } = await createWorkflow(api, ann);
    const ids = await Promise.all(Array.from({ length: 20 }, () => newJob(3, { workflowId: workflow.id })));
    for (const [n, id] of ids.entries()) {
      // Random text stays as long: 20 times 250 kB are more than one statement reads.
      const long = randomBytes(125_000).toString('hex');
      const texts = n === 7 ? [] : [`first of ${n}`, ...(long.match(/.{1,10000}/g) ?? []), `last of ${n}`];
      const lines = texts.map((text) => ({ stream: 'STDOUT' as const, text }));
      if (lines.length > 0) await store(id, lines, [[1, lines.length]]);
    }
    const ask = async (args: string) => {
      const list = `{ workflow(id: "${workflow.id}") { jobs { nodes { id logs(${args}) { nodes { text } pageInfo { hasNextPage } } } } } }`;
      const { data, errors } = await query(api, list, { token: ann.token });
      expect(errors).toBeUndefined();
      const nodes: { id: string; logs: { nodes: { text: string }[] } }[] = data.workflow.jobs.nodes;
      return new Map(nodes.map(({ id, logs }) => [id, logs.nodes.map(({ text }) => text)]));
    };
    const [first, last, found] = [await ask('first: 1'), await ask('last: 1'), await ask('first: 5, search: "of 1"')];
    for (const [n, id] of ids.entries()) {
      expect(first.get(id)).toEqual(n === 7 ? [] : [`first of ${n}`]);
      expect(last.get(id)).toEqual(n === 7 ? [] : [`last of ${n}`]);
      expect(found.get(id)).toEqual(n === 1 || n >= 10 ? [`first of ${n}`, `last of ${n}`] : []);
    }
  });

  test('that cannot be read is an error in its own place', async () => {
    const { workflow } = await createWorkflow(api, ann);
    const [a, b] = [await newJob(1, { workflowId: workflow.id }), await newJob(1, { workflowId: workflow.id })];
    for (const id of [a, b]) await store(id, [{ stream: 'STDOUT', text: 'hello' }], [[1, 1]]);
    const { edges } = await page(a, { first: 1 });
    const list = `{ workflow(id: "${workflow.id}") { jobs { nodes { id logs(before: "${edges[0]?.cursor}") { nodes { text } } } } } }`;
    const answer = await query(api, list, { token: ann.token });
    expect(codes(answer)).toEqual(['BAD_REQUEST']);
    const newest = 0; // b, to which the cursor does not belong
    expect(answer.errors?.[0]?.path).toEqual(['workflow', 'jobs', 'nodes', newest, 'logs']);
  });

  test('gives each line once, in order, in both directions, by stream and by search, however chunks overlap', async () => {
    const texts = fc.constantFrom('Alpha', 'ALPHA beta', 'Größe', '2026-01-01', 'a.b*c', '', 'nul\0l', '[x] $&');
    const size = fc.integer({ min: 1, max: 40 });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ stream: fc.constantFrom('STDOUT' as const, 'STDERR' as const), text: texts }), {
          minLength: 1,
          maxLength: 120,
          size: 'max',
        }),
        fc.array(size, { minLength: 1, maxLength: 5 }),
        fc.array(size, { minLength: 1, maxLength: 5 }),
        fc.integer({ min: 0, max: 100 }),
        fc.integer({ min: 0, max: 99 }),
        fc.integer({ min: 1, max: 50 }),
        fc.option(fc.constantFrom('STDOUT' as const, 'STDERR' as const), { nil: undefined }),
        fc.option(fc.constantFrom('alpha', 'GRÖSSE', 'größe', '2026', '.', '$&', 'z', 'L\0', 'A B'), {
          nil: undefined,
        }),
        async (lines, old, later, sentPercent, storedPercent, first, stream, search) => {
          const id = await newJob(lines.length);
          // The chunks that the first worker has sent.
          const handed = cuts(1, Math.max(1, Math.ceil((lines.length * sentPercent) / 100)), old);
          // The first line that is not stored when the second worker begins.
          const seen = handed[Math.floor((handed.length * storedPercent) / 100)]?.[0] ?? 1;
          await store(id, lines, [...handed, ...cuts(seen, lines.length, later)]);
          const expected = lines
            .map((line, n) => ({ number: n + 1, ...line }))
            .filter((line) => stream === undefined || line.stream === stream)
            .filter(({ text }) => search === undefined || text.toLowerCase().includes(search.toLowerCase()));
          expect(await forwards(id, { first, stream, search })).toEqual(expected);
          expect(await backwards(id, { first, stream, search })).toEqual(expected);
        },
      ),
      { numRuns: 60, endOnFailure: true }, // making it smaller would take longer than the test may
    );
  }, 120_000);

  test('with a rare search text reads a bounded part, and says where to continue', async () => {
    const text = (number: number) => `${'x'.repeat(1_000)} ${number}${number % 29_900 === 0 ? ' Needle' : ''}`;
    const lines = Array.from({ length: 30_000 }, (_, n) => ({ stream: 'STDOUT' as const, text: text(n + 1) }));
    const id = await newJob(lines.length);
    await store(id, lines, cuts(1, lines.length, [250])); // 30 MB
    const asked = { search: 'NEEDLE', stream: 'STDOUT' } as const;
    const start = await page(id, asked);
    expect(start.nodes).toEqual([]);
    expect(start.pageInfo).toMatchObject({ hasNextPage: true, hasPreviousPage: false, endCursor: expect.any(String) });
    const next = await page(id, { ...asked, after: start.pageInfo.endCursor });
    expect(next.nodes.map(({ number }) => number)).toEqual([29_900]);
    expect(next.pageInfo.hasNextPage).toBe(false);
    const end = await page(id, { ...asked, last: 1, before: start.pageInfo.endCursor });
    expect(end).toMatchObject({ nodes: [], pageInfo: { hasPreviousPage: false, hasNextPage: true } });
    expect((await backwards(id, asked)).map(({ number }) => number)).toEqual([29_900]);
  });

  test('with a search text reads a bounded number of chunks, even if each holds one line', async () => {
    const lines = Array.from({ length: 5_000 }, (_, n) => ({ stream: 'STDERR' as const, text: `line ${n + 1}` }));
    const id = await newJob(lines.length);
    await store(id, lines, cuts(1, lines.length, [1]));
    const start = await page(id, { search: 'line 5000' });
    expect(start).toMatchObject({ nodes: [], pageInfo: { hasNextPage: true } });
    expect((await forwards(id, { search: 'line 5000' })).map(({ number }) => number)).toEqual([5_000]);
  }, 60_000);

  test('searches only the printed text: no timestamps, no patterns, no text across two lines', async () => {
    const texts = ['o2026', 'a+b', 'aab', 'İstanbul', 'straße', 'Σίσυφος', 'end', '\ufffd'];
    const id = await newJob(texts.length);
    await store(
      id,
      texts.map((text) => ({ stream: 'STDOUT' as const, text })),
      [[1, texts.length]],
    );
    const found = async (search: string) => (await page(id, { search })).nodes.map(({ text }) => text);
    expect(await found('2026-01')).toEqual([]);
    expect(await found('T00:00')).toEqual([]);
    expect(await found('A+B')).toEqual(['a+b']);
    expect(await found('STRASSE')).toEqual([]);
    expect(await found('STRAẞE')).toEqual(['straße']);
    expect(await found('ΣΊΣΥΦΟΣ')).toEqual(['Σίσυφος']);
    expect(await found('D')).toEqual(['end']);
    expect(await found('\ud800')).toEqual([]);
    expect(await found('x'.repeat(1_000))).toEqual([]);
  });

  test.each([
    ['of no characters', '', '`search` must have 1 to 1000 characters, not 0.'],
    ['of 10,000 characters', '😀'.repeat(10_000), '`search` must have 1 to 1000 characters, not 10000.'],
    ['of two lines', 'a\nb', '`search` must be a part of one line'],
  ])('is BAD_REQUEST for a search %s', async (_, search, message) => {
    const id = await newJob(0);
    const answer = await query(api, DOCUMENT, { token: ann.token, variables: { id, search } });
    expect(codes(answer)).toEqual(['BAD_REQUEST']);
    expect(answer.errors?.[0]?.message).toContain(message);
  });

  test('costs as much more as its search does: a request has a bounded number of searches', async () => {
    const asked = (count: number, search: string) =>
      query(
        api,
        `{ job(id: "${newId()}") { ${Array.from({ length: count }, (_, n) => `l${n}: logs(first: 1, ${search}) { nodes { number } }`)} } }`,
        { token: ann.token },
      );
    expect(await asked(24, 'search: "a"')).toEqual({ data: { job: null } });
    expect(codes(await asked(25, 'search: "a"'))).toEqual(['BAD_REQUEST']);
    expect(codes(await asked(25, 'stream: STDERR'))).toEqual(['BAD_REQUEST']);
    expect(await asked(30, 'search: null')).toEqual({ data: { job: null } });
  });
});
