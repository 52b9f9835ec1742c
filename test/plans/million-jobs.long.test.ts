import { randomBytes } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { findIdentities, insertToken } from '../../db/accounts/tokens.ts';
import { rollUpTotals } from '../../db/analytics.ts';
import type { Db } from '../../db/client.ts';
import { claimJobs } from '../../db/jobs/claim.ts';
import { queueDueSlots } from '../../db/jobs/dispatch.ts';
import { endJobs } from '../../db/jobs/finish.ts';
import { renewLeases } from '../../db/jobs/leases.ts';
import { reconcileSchedules } from '../../db/jobs/reconcile.ts';
import { enterTurns, takeTurn } from '../../db/jobs/turns.ts';
import { countJobs, listJobs } from '../../db/listing/jobs.ts';
import { listWorkflows } from '../../db/listing/workflows.ts';
import { insertChunks } from '../../db/logs/append.ts';
import { settleMarkers } from '../../db/logs/markers.ts';
import { chunksAfter } from '../../db/logs/read.ts';
import { listNotifications } from '../../db/notifications.ts';
import { NO_ID } from '../../domain/ids.ts';
import { type TestDatabase, testDatabase, testUser } from '../support/database.ts';
import { fillHistory, prepareTables, withoutForeignKeys, withoutIndexes } from './history.ts';
import { nodesOf, rowsRead } from './plan.ts';
import { type Recorder, record, type Statement } from './recorder.ts';
import { HEARTBEAT, idsOf, make, WATCHED } from './scenario-rows.ts';
import { nameOf } from './statements.ts';

const JOBS = Number(process.env.PLANS_ROWS ?? 1_000_000);
/** The size of the other tables, in proportion to that many jobs. */
const ROWS = Math.ceil(JOBS / 10);
/** The number of jobs that one statement handles. */
const SET = 50;

/**
 * The most that a statement may read beside a million jobs of other users: rows of its busiest
 * node, and blocks of all nodes. The bounds are about three times the present values. A plan that
 * reads a whole table or index reads a hundred times as much.
 */
const BOUNDS: Record<string, { rows: number; blocks: number }> = {
  queueDueSlots: { rows: 2 * SET, blocks: 2_000 }, // and writes: its answer comes from what it has written
  enterTurns: { rows: 2 * SET, blocks: 2_500 },
  takeTurn: { rows: 10, blocks: 50 },
  claimJobs: { rows: 2 * SET, blocks: 1_000 },
  renewLeases: { rows: 2 * SET, blocks: 1_000 },
  insertChunks: { rows: 2 * SET, blocks: 1_500 },
  settleMarkers: { rows: 2 * SET, blocks: 4_000 },
  chunksAfter: { rows: 20, blocks: 50 },
  endUncounted: { rows: 2 * SET, blocks: 1_500 },
  endCounted: { rows: 2 * SET, blocks: 1_500 },
  readSchedules: { rows: 2 * SET, blocks: 1_000 },
  listJobs: { rows: 2 * SET, blocks: 2_500 }, // of a day, then of a month and of what is older
  countJobs: { rows: 2 * SET, blocks: 1_500 },
  listWorkflows: { rows: 2 * SET, blocks: 80 },
  listNotifications: { rows: 2 * SET, blocks: 50 },
  findIdentities: { rows: 10, blocks: 50 },
  rollUpTotals: { rows: 6 * SET, blocks: 1_500 },
};

let database: TestDatabase;
let recorder: Recorder;
beforeAll(async () => {
  database = await testDatabase();
  const { db } = database;
  await prepareTables(db);
  await withoutForeignKeys(db, () => withoutIndexes(db, 'jobs', () => fillHistory(db, ROWS, { jobs: JOBS })));
  await db.execute(sql`ANALYZE`);
  recorder = record(db);
  await driveHot(db);
}, 900_000);
afterAll(() => database.close());

test('beside a million jobs, each hot statement reads only the rows that it is about', () => {
  const measured = new Map<string, { rows: number; blocks: number }>();
  const wrong: string[] = [];
  for (const statement of recorder.statements) {
    const name = nameOf(statement.text) ?? '';
    const bounds = BOUNDS[name];
    if (bounds === undefined) continue;
    const { rows, blocks } = readBy(statement);
    const before = measured.get(name) ?? { rows: 0, blocks: 0 };
    measured.set(name, { rows: Math.max(before.rows, rows), blocks: Math.max(before.blocks, blocks) });
    const scans = nodesOf(statement.plan).filter(({ type, rows: read }) => type === 'Seq Scan' && read > 1);
    for (const { relation } of scans) wrong.push(`${name} (${statement.mode} plan) scans ${relation}`);
    if (rows > bounds.rows)
      wrong.push(`${name} (${statement.mode} plan) reads ${rows} rows, and ${bounds.rows} may be`);
    if (blocks > bounds.blocks)
      wrong.push(`${name} (${statement.mode} plan) reads ${blocks} blocks, and ${bounds.blocks} may be`);
  }
  console.info([...measured].map(([name, { rows, blocks }]) => `${name}: ${rows} rows, ${blocks} blocks`).join('\n'));
  expect(wrong).toEqual([]);
  expect(Object.keys(BOUNDS).filter((name) => !measured.has(name))).toEqual([]);
});

function readBy({ plan }: Statement): { rows: number; blocks: number } {
  return { rows: rowsRead(plan), blocks: plan.blocks };
}

/** Runs a user's jobs from their slots to their ends, with the user's queries meanwhile. */
async function driveHot(db: Db): Promise<void> {
  const during = <Result>(work: () => Promise<Result>) => recorder.during('hot', work);
  const userId = await testUser(db, 'ann');
  await db.execute(sql`UPDATE users SET notification_preference = 'ALL' WHERE id = ${userId}`);
  const own = idsOf(await make(db, userId, HEARTBEAT, SET));
  const { effects } = await during(() => queueDueSlots(db, { limit: SET }));
  const ids = idsOf([...effects.dispatched]);
  await during(() => enterTurns(db, 'CONTAINER', ids));
  const claim = (tx: Db, taken: string[]) => claimJobs(tx, taken, { owner: 'test' });
  const first = await during(() => takeTurn(db, 'CONTAINER', [], claim));
  const rest = await during(() => claim(db, ids));
  const claimed = [...(first?.claimed ?? []), ...rest.claimed];
  await during(() => renewLeases(db, claimed));
  const chunk = (sourceId: string) => ({ sourceId, attempt: 1, firstNumber: 1, lastNumber: 9, lines: Buffer.of(1) });
  await during(() =>
    insertChunks(
      db,
      claimed.map(({ id }) => chunk(id)),
    ),
  );
  await during(() =>
    settleMarkers(
      db,
      claimed.map(({ id }) => ({ kind: 'attempt-marker', sourceId: id, epoch: 2 })),
    ),
  );
  await during(() => chunksAfter(db, ids[0] ?? NO_ID, 0, 10));
  const outcomes = claimed.map((job) => ({ ...job, logLineCount: 9 }));
  await during(() =>
    endJobs(
      db,
      outcomes.slice(SET / 2).map((job) => ({ ...job, status: 'COMPLETED' })),
    ),
  );
  const failed = { status: 'FAILED', failureReason: 'EXIT_CODE' } as const;
  await during(() =>
    endJobs(
      db,
      outcomes.slice(0, SET / 2).map((job) => ({ ...job, ...failed })),
    ),
  );
  await db.execute(sql`UPDATE schedules SET wake_at = now() WHERE user_id = ${userId}`);
  await during(() => reconcileSchedules(db, own, WATCHED));
  const page = { count: 20, backwards: false };
  await during(() => listJobs(db, { userId }, {}, page));
  await during(() => listJobs(db, { userId }, { status: ['FAILED'] }, page));
  await during(() => listJobs(db, { userId, workflowIds: own }, {}, page));
  await during(() => countJobs(db, { userId }, {}, 10_000));
  await during(() => countJobs(db, { userId, workflowIds: own }, {}, 10_000));
  await during(() => listWorkflows(db, userId, {}, page));
  await during(() => listNotifications(db, { userId, unreadOnly: true }, page));
  const token = await insertToken(db, { userId, kind: 'API', name: 'ci', hash: randomBytes(32) });
  await during(() => findIdentities(db, [token.hash]));
  await during(() => rollUpTotals(db, { limit: SET }));
}
