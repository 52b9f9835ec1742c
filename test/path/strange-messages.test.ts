import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { lastLogNumber } from '../../db/logs/read.ts';
import { jobs } from '../../db/schema.ts';
import { newId } from '../../domain/ids.ts';
import { encodeChunks } from '../../domain/logs/chunk.ts';
import { formatLine } from '../../domain/logs/encode.ts';
import { startJoblogs } from '../../workers/joblogs/worker.ts';
import type { Worker } from '../../workers/shared/parts.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { until } from '../support/time.ts';
import { memoryParts } from '../support/workers.ts';

let database: TestDatabase;
let parts: ReturnType<typeof memoryParts>;
let worker: Worker;
beforeAll(async () => {
  database = await testDatabase();
  parts = memoryParts(database.db);
  worker = await startJoblogs(parts);
});
afterAll(async () => {
  await worker.close();
  await parts.bus.close();
  await parts.cache.close();
  await database.close();
});

test('messages on the bus that cannot be stored do not block the lines behind them', async () => {
  const { db } = database;
  const id = newId();
  const state = { status: 'RUNNING', leaseToken: newId(), startedAt: new Date() } as const;
  const common = { workflowId: newId(), userId: newId(), kind: 'CONTAINER', trigger: 'MANUAL' } as const;
  await db.insert(jobs).values({ ...common, ...state, id, generation: 1, attempt: 1, scheduledAt: new Date() });
  const lines = Buffer.from(formatLine('STDOUT', '2026-01-01T00:00:00.000000001Z', 'a'));
  const chunk = (firstNumber: number, lastNumber: number, attempt = 1) =>
    encodeChunks([{ sourceId: id, attempt, firstNumber, lastNumber, lines }]);
  const LARGE = 0xffff_ffff; // too large for the column
  const strange = [
    Buffer.alloc(0),
    randomBytes(100),
    chunk(0, 5),
    chunk(9, 2),
    chunk(1, LARGE),
    chunk(LARGE, LARGE),
    chunk(1, 1, LARGE),
    chunk(0, 0, LARGE), // an attempt marker
  ];
  for (const value of strange) await parts.bus.publish('job_logs', [{ key: id, value }]);
  await parts.bus.publish('job_logs', [{ key: id, value: chunk(1, 1) }]);
  await until('the line is stored', async () => (await lastLogNumber(db, id)) === 1 || undefined);
  expect(await lastLogNumber(db, id)).toBe(1);
});
