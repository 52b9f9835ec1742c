import { drizzle } from 'drizzle-orm/postgres-js';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Db, PLANNER } from '../../db/client.ts';
import { makeLogPartitions } from '../../db/logs/partitions.ts';
import { chunksAfter, chunksOfLogs, lastLogNumber } from '../../db/logs/read.ts';
import { firstLineNumbers, lastLineNumbers } from '../../db/lookup.ts';
import { newId } from '../../domain/ids.ts';
import { formatLine } from '../../domain/logs/encode.ts';
import { packLines } from '../../domain/logs/packing.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';

const CHUNK_LINES = 2_500; // of 60 bytes plus a timestamp: 230 KB
const LONG = 10_000_000;
const SHORT = 10_000;
const CHUNKS = 4;

interface Plan {
  'Node Type': string;
  'Relation Name'?: string;
  'Actual Rows': number;
  'Actual Loops': number;
  'Shared Hit Blocks': number;
  'Shared Read Blocks': number;
  Plans?: Plan[];
}

describe('a log of 10,000,000 lines', () => {
  let database: TestDatabase;
  let client: postgres.Sql;
  let db: Db;
  const sent: { text: string; params: unknown[] }[] = [];
  const [long, short, oneByOne] = [newId(), newId(), newId()];

  beforeAll(async () => {
    database = await testDatabase();
    await makeLogPartitions(database.db, { daysAhead: 40 });
    // Connects as db/client.ts does, but with a generic plan, which PostgreSQL may choose for a
    // prepared statement.
    const connection = PLANNER;
    client = postgres(database.url, { max: 1, connection, onnotice: () => undefined });
    db = drizzle(client, { logger: { logQuery: (text, params) => void sent.push({ text, params }) } });
    const printed = Array.from({ length: CHUNK_LINES }, (_, n) =>
      formatLine(
        'STDOUT',
        `2026-01-01T00:00:00.${String(n).padStart(9, '0')}Z`,
        `a line that says what is done now: ${n * 7_919}`,
      ),
    );
    const lines = await packLines(Buffer.from(printed.join('')));
    const store = (id: string, count: number, size: number, bytes: Buffer) => client`
      INSERT INTO log_chunks (source_id, first_number, last_number, attempt, lines)
      SELECT ${id}::uuid, n * ${size}::int + 1, (n + 1) * ${size}::int, 1, ${bytes}::bytea FROM generate_series(0, ${count / size - 1}::int) n`;
    await store(long, LONG, CHUNK_LINES, lines);
    await store(short, SHORT, CHUNK_LINES, lines);
    await store(oneByOne, 200_000, 1, Buffer.from(formatLine('STDOUT', '2026-01-01T00:00:00.000000000Z', 'one')));
    await client.unsafe('VACUUM ANALYZE log_chunks');
  }, 120_000);
  afterAll(async () => {
    await client.end();
    await database.close();
  });

  /** The cost of the statement of `read` under a generic plan. */
  async function cost(read: () => Promise<unknown>) {
    sent.length = 0;
    await read();
    const [statement] = sent;
    if (statement === undefined || sent.length !== 1) throw new Error('One statement was expected.');
    await client.unsafe(`PREPARE measured AS ${statement.text}`);
    const values = statement.params.map((value) => (typeof value === 'number' ? String(value) : `'${value}'`));
    const [row] = await client.unsafe(
      `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE measured${values.length > 0 ? `(${values.join()})` : ''}`,
    );
    await client.unsafe('DEALLOCATE measured');
    const root: Plan = row?.['QUERY PLAN'][0].Plan;
    const nodes = flat(root);
    return {
      buffers: root['Shared Hit Blocks'] + root['Shared Read Blocks'],
      rows: Math.max(...nodes.map((node) => node['Actual Rows'] * node['Actual Loops'])),
      partitions: new Set(
        nodes.filter((node) => node['Actual Loops'] > 0).flatMap((node) => node['Relation Name'] ?? []),
      ).size,
    };
  }

  /** One log of a set, backwards from the line before `before`. */
  async function chunksBefore(sourceId: string, before: number, count: number) {
    const place = { sourceId, at: before - 1, count };
    const [chunks = []] = await chunksOfLogs(db, [place], { backwards: true, bytesMax: 4 * 1024 * 1024 });
    return chunks;
  }

  const flat = (plan: Plan): Plan[] => [plan, ...(plan.Plans ?? []).flatMap(flat)];

  test('is read from any line, forwards and backwards, with as few rows and pages as a short one, from one partition', async () => {
    expect(await cost(() => chunksAfter(db, short, 0, CHUNKS))).toEqual(FEW);
    for (const at of [0, 1, 2_500, 1_234_567, 5_000_000, 9_985_000]) {
      expect(await cost(() => chunksAfter(db, long, at, CHUNKS))).toEqual(FEW);
      expect(await cost(() => chunksBefore(long, at + 12_501, CHUNKS))).toEqual(FEW);
      const [next] = await chunksAfter(db, long, at, 1);
      expect(next?.firstNumber).toBe(Math.floor(at / CHUNK_LINES) * CHUNK_LINES + 1);
      const [last] = await chunksBefore(long, at + 12_501, 1);
      expect(last?.lastNumber).toBe(Math.floor((at + 12_499) / CHUNK_LINES + 1) * CHUNK_LINES);
    }
  });

  test('finds its first and its last line with one row each', async () => {
    for (const read of [() => firstLineNumbers(db, [long]), () => lastLineNumbers(db, [long])])
      expect(await cost(read)).toEqual({ ...FEW, rows: 1 });
  });

  test('finds its last line with the chunks near the end, if a chunk that begins earlier may reach further', async () => {
    expect(await lastLogNumber(db, long)).toBe(LONG);
    expect(await cost(() => lastLogNumber(db, long))).toEqual({ ...FEW, rows: expect.any(Number) });
    expect((await cost(() => lastLogNumber(db, oneByOne))).buffers).toBeLessThan(400);
  });

  test('has nothing behind its end, which takes a bounded look back for a chunk that reaches so far', async () => {
    expect(await chunksAfter(db, long, LONG, CHUNKS)).toEqual([]);
    expect(await cost(() => chunksAfter(db, long, LONG, CHUNKS))).toEqual({ ...FEW, rows: expect.any(Number) });
    const { buffers } = await cost(() => chunksAfter(db, oneByOne, 200_000, CHUNKS));
    // At most 11,000 chunks can overlap with one chunk; the log has 200,000.
    expect(buffers).toBeLessThan(400);
    expect(await cost(() => chunksAfter(db, oneByOne, 100_000, CHUNKS))).toEqual(FEW);
  });
});

// The measured value is 8: index and table, and the lookup of the chunk that holds the line.
const BUFFERS_MAX = 12;
const FEW = {
  buffers: expect.toSatisfy((buffers: number) => buffers <= BUFFERS_MAX, `at most ${BUFFERS_MAX}`),
  rows: CHUNKS,
  partitions: 1,
};
