import { randomBytes } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { array } from '../../db/arrays.ts';
import type { Db } from '../../db/client.ts';
import { claimJobs } from '../../db/jobs/claim.ts';
import { queueDueSlots } from '../../db/jobs/dispatch.ts';
import { endByPing, expectNext } from '../../db/pings/end.ts';
import { missPings } from '../../db/pings/miss.ts';
import { completeByPing, logByPing, startByPing } from '../../db/pings/ping.ts';
import { knownPingTokens, pingTokensOf, rotatePingToken } from '../../db/pings/tokens.ts';
import * as push from '../../db/workflows/push.ts';
import { createWorkflow, lockWorkflow, updateWorkflow } from '../../db/workflows/workflows.ts';
import { pushOf } from '../../domain/payload/push.ts';
import { pingLines } from '../../domain/ping.ts';
import type { Schedule } from '../../domain/schedule/schedule.ts';
import { type Drive, HEARTBEAT, idsOf, SET } from './scenario-rows.ts';

const PUSH = { kind: 'HEARTBEAT', push: {} } as const;
const DAILY: Schedule = { cron: { expressions: ['30 2 * * *'], timeZone: 'UTC' } };

/** Push heartbeats: every ping, what is missed, and changes of what is expected. */
export async function pingsOf(db: Db, drive: Drive, userId: string): Promise<void> {
  const own: { id: string; hash: Buffer }[] = [];
  for (let n = 0; n < SET; n++) {
    const hash = randomBytes(32);
    const { workflow } = await createWorkflow(db, {
      ...{ userId, name: `ping ${n}`, payload: PUSH, maxConsecutiveJobFailuresAllowed: 9 },
      schedule: n % 2 === 0 ? DAILY : { everyMinutes: 60 },
      pingToken: { hash, sealed: 'sealed' },
    });
    own.unshift({ id: workflow.id, hash });
  }
  const lines = pingLines(Buffer.from('one\ntwo'), { isCut: false, now: new Date() });
  const ping = ({ hash: tokenHash }: { hash: Buffer }) => ({ tokenHash, isPost: true, rid: undefined, lines });
  for (const one of own) {
    await drive(completeByPing, db, ping(one)); // the first job is counted
    await drive(logByPing, db, ping(one));
    await drive(completeByPing, db, ping(one), 0);
    await drive(startByPing, db, ping(one));
  }
  // None of the runs ends in time.
  const ids = array(idsOf(own), 'uuid');
  await db.execute(sql`UPDATE pings SET started_at = started_at - interval '2 hours' WHERE workflow_id = ANY(${ids})`);
  await db.execute(sql`
    UPDATE schedules SET next_run_at = next_run_at - interval '2 hours', wake_at = now() WHERE workflow_id = ANY(${ids})`);
  await queueDueSlots(db, { limit: 100 });
  const queued = await db.execute<{ id: string }>(sql`
    SELECT last_job_id AS id FROM schedules WHERE workflow_id = ANY(${ids}) AND last_job_id IS NOT NULL`);
  const { claimed } = await claimJobs(db, idsOf(queued), { owner: 'test' });
  await drive(missPings, db, claimed.toReversed());

  const [one, two] = own;
  if (one === undefined || two === undefined) throw new Error('There are more workflows.');
  await drive(endByPing, db, ping(one), { status: 'FAILED', failureReason: 'CHECK_FAILED' });
  const token = { hash: randomBytes(32), sealed: 'sealed again' };
  await drive(rotatePingToken, db, { userId, id: one.id, token });
  await drive(pingTokensOf, db, idsOf(own));
  const hashes = own.map(({ hash }) => hash);
  await drive(knownPingTokens, db, hashes);
  await updateWorkflow(db, { userId, id: two.id, payload: HEARTBEAT });
  await updateWorkflow(db, { userId, id: two.id, payload: PUSH, pingToken: { ...token, hash: randomBytes(32) } });
  await db.transaction(async (tx) => {
    const workflow = await lockWorkflow(tx, { userId, id: one.id });
    const before = await drive(push.lockPings, tx, one.id);
    if (workflow === undefined || before === undefined) throw new Error('It is there.');
    const unchanged = { token: undefined, schedule: undefined, runPolicy: undefined };
    await drive(expectNext, tx, workflow, before);
    await drive(push.nextPingAt, tx, one.id, { everyMinutes: 5 });
    await drive(push.changePushSchedule, tx, one.id, { everyMinutes: 5 }, before);
    await drive(push.changePush, tx, workflow, { ...unchanged, push: pushOf({}), before });
    await drive(push.changePush, tx, workflow, { ...unchanged, push: undefined, before });
    await drive(push.changePush, tx, workflow, { ...unchanged, push: pushOf({}), before: undefined, token });
    await drive(push.changePush, tx, workflow, { ...unchanged, push: undefined, before });
    await drive(push.insertPings, tx, one.id, pushOf({}), token);
  });
  // They would come into the passes of another part.
  await db.execute(sql`DELETE FROM schedules WHERE workflow_id = ANY(${ids})`);
}
