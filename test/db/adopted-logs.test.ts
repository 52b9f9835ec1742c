import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { claimJobs, takeOverJobs } from '../../db/jobs/claim.ts';
import { returnJobs } from '../../db/jobs/leases.ts';
import { insertChunks } from '../../db/logs/append.ts';
import { settledLines, settleMarkers } from '../../db/logs/markers.ts';
import { jobs } from '../../db/schema.ts';
import { newId } from '../../domain/ids.ts';
import { attemptMarker, decodeChunks, encodeChunks, endMarker } from '../../domain/logs/chunk.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { numberedChunk, readLines } from '../support/lines.ts';

let database: TestDatabase;
let userId: string;
beforeAll(async () => {
  database = await testDatabase();
  userId = await testUser(database.db, 'ann');
});
afterAll(() => database.close());

const engine = { owner: 'one', engineId: 'engine' };

/** A CONTAINER job in its first attempt. */
async function claimed() {
  const { db } = database;
  const id = newId();
  const common = { workflowId: newId(), userId, kind: 'CONTAINER', trigger: 'MANUAL', status: 'QUEUED' } as const;
  await db.insert(jobs).values({ ...common, id, generation: 1, scheduledAt: new Date(), queuedAt: new Date() });
  const [job] = (await claimJobs(db, [id], engine)).claimed;
  if (job === undefined) throw new Error('The job is not claimed.');
  return job;
}

async function takenOver({ id, attempt }: { id: string; attempt: number }) {
  const options = { ...engine, owner: 'other', endedOwners: ['one', 'other'] };
  const [job] = await takeOverJobs(database.db, [{ id, attempt }], options);
  if (job === undefined) throw new Error('The job is not taken over.');
  return job;
}

/** Lines as the worker of this epoch numbers them. */
const lines = async (id: string, epoch: number, from: number, to: number) => ({
  ...(await numberedChunk(id, from, to)),
  epoch,
});
const last = async (id: string) => (await readLines(database.db, id)).at(-1)?.number;

test('P4: each worker that takes a job over has its own epoch, and asks how many lines there are before it', async () => {
  const first = await claimed();
  expect(first).toMatchObject({ attempt: 1, epoch: 1, linesBefore: 0 });
  const second = await takenOver(first);
  expect(second).toMatchObject({ attempt: 1, epoch: 2, linesBefore: undefined });
  const third = await takenOver(second);
  expect(third).toMatchObject({ attempt: 1, epoch: 3, linesBefore: undefined });
});

test('P4: behind the marker of the worker that adopts, no lines of the former worker count, longer ones neither', async () => {
  const { db } = database;
  const { id } = await claimed();
  await insertChunks(db, [await lines(id, 1, 1, 10)]);
  const { epoch } = await takenOver({ id, attempt: 1 });
  await insertChunks(db, [await lines(id, 1, 11, 20)]); // published before the marker
  expect(await settledLines(db, id, epoch)).toBeUndefined();
  await settleMarkers(db, [attemptMarker(id, epoch)]);
  expect(await settledLines(db, id, epoch)).toBe(20);

  await insertChunks(db, [await lines(id, 1, 21, 40)]);
  expect(await last(id)).toBe(20);
  // One set may hold both, beginning at the same line.
  await insertChunks(db, [await lines(id, 1, 21, 40), await lines(id, 2, 21, 25), await lines(id, 1, 24, 50)]);
  expect(await last(id)).toBe(25);
  expect((await readLines(db, id)).every(({ attempt }) => attempt === 1)).toBe(true);
});

test('P4: the next attempt is a later epoch than any adoption before it, and the end of a log later than all', async () => {
  const { db } = database;
  const first = await claimed();
  const adopted = await takenOver(await takenOver(first));
  await settleMarkers(db, [attemptMarker(first.id, adopted.epoch)]);
  await insertChunks(db, [await lines(first.id, adopted.epoch, 1, 5)]);
  await returnJobs(db, [adopted], { counted: true, ran: true });
  await db.update(jobs).set({ status: 'QUEUED', queuedAt: new Date() }).where(eq(jobs.id, first.id));
  const [next] = (await claimJobs(db, [first.id], engine)).claimed;
  expect(next).toMatchObject({ attempt: 2, epoch: adopted.epoch + 1, linesBefore: undefined });
  await settleMarkers(db, [attemptMarker(first.id, adopted.epoch + 1)]);
  expect(await settledLines(db, first.id, adopted.epoch + 1)).toBe(5);

  const ended = { status: 'CANCELED', completedAt: new Date(), logOpen: true } as const;
  const noLease = { leaseToken: null, leaseOwner: null, leaseExpiresAt: null };
  await db
    .update(jobs)
    .set({ ...ended, ...noLease })
    .where(eq(jobs.id, first.id));
  await settleMarkers(db, [endMarker(first.id)]);
  await insertChunks(db, [{ ...(await lines(first.id, adopted.epoch + 1, 6, 9)), attempt: 2 }]);
  expect(await last(first.id)).toBe(5);
});

test('an epoch comes over the bus, and a chunk without one is of its attempt', async () => {
  const id = newId();
  const [adopted, plain] = [await lines(id, 7, 1, 3), await numberedChunk(id, 4, 5)];
  const marker = attemptMarker(id, 7);
  expect(decodeChunks(encodeChunks([adopted, marker, plain, endMarker(id)]))).toEqual([
    adopted,
    marker,
    plain,
    endMarker(id),
  ]);
  expect(decodeChunks(encodeChunks([adopted, plain]).subarray(0, -1))).toEqual([adopted]);
});
