import { sql } from 'drizzle-orm';
import { alertFacts } from '../../db/alerts/facts.ts';
import * as incidents from '../../db/alerts/incidents.ts';
import * as outages from '../../db/alerts/outages.ts';
import * as queue from '../../db/alerts/queue.ts';
import { recordAlerts } from '../../db/alerts/record.ts';
import * as retention from '../../db/alerts/retention.ts';
import { settleMessage } from '../../db/alerts/settle.ts';
import type { Db } from '../../db/client.ts';
import { claimJobs } from '../../db/jobs/claim.ts';
import { endJobs } from '../../db/jobs/finish.ts';
import type { SendOutcome } from '../../domain/alerts/alert.ts';
import { ALERT_EVENTS } from '../../domain/alerts/states.ts';
import { channel, letQueuesPass } from '../alerting/support.ts';
import { testUser } from '../support/database.ts';
import { type Drive, dispatched, HEARTBEAT, idsOf, make, SET } from './scenario-rows.ts';

const delivered: SendOutcome = { outcome: 'DELIVERED', status: 200 };
const failed = (verdict: 'LATER' | 'BUSY' | 'REJECTED' | 'DEAD'): SendOutcome => ({
  ...{ outcome: 'FAILED', status: 500, error: 'It answered 500.', retryAfterSeconds: 60, verdict },
});

/** Incidents and their alerts, and the queues of channels of every kind of end. */
export async function alertQueueOf(db: Db, drive: Drive): Promise<void> {
  const userId = await testUser(db, 'alerted');
  const events = [...ALERT_EVENTS];
  const slack = { kind: 'SLACK', url: 'http://127.0.0.1:1/' } as const;
  const channels = [
    await channel(db, userId, { events }),
    await channel(db, userId, { events, target: slack }),
    await channel(db, userId, { events, target: { kind: 'EMAIL', address: 'a@example.com' } }),
  ];
  const own = await make(db, userId, HEARTBEAT, SET, 4);
  await db.execute(sql`UPDATE workflows SET muted_until = now() + interval '1 hour' WHERE id = ${own[0]?.id}`);
  const endAll = async (status: 'COMPLETED' | 'FAILED') => {
    await db.execute(sql`UPDATE schedules SET wake_at = NULL WHERE wake_at <= now()`);
    const { claimed } = await claimJobs(db, await dispatched(db, own), { owner: 'test' });
    const outcome = status === 'FAILED' ? { failureReason: 'EXIT_CODE' as const, failureMessage: 'No.' } : {};
    await drive(
      endJobs,
      db,
      claimed.toReversed().map((job) => ({ ...job, status, ...outcome, logLineCount: 0 })),
    );
  };
  await endAll('COMPLETED');
  await endAll('FAILED');
  await db.execute(sql`UPDATE workflows SET muted_until = now() WHERE id = ${own[0]?.id}`);
  await drive(incidents.alertUnmuted, db, { limit: 10 });
  await endAll('FAILED');

  const [one] = own;
  const serve = async (outcome: SendOutcome) => {
    for (const lease of await drive(queue.claimChannels, db, { owner: 'test', limit: 10 })) {
      for (;;) {
        const message = await drive(queue.nextMessage, db, lease);
        if (typeof message === 'string') break;
        await drive(alertFacts, db, message.deliveryIds.toReversed());
        await drive(settleMessage, db, lease, message, outcome);
      }
      await drive(queue.releaseChannel, db, lease);
    }
  };
  await letQueuesPass(db, 11, userId);
  await serve(failed('LATER'));
  await letQueuesPass(db, 3_600, userId);
  await serve(failed('BUSY'));
  await letQueuesPass(db, 3_600, userId);
  await endAll('COMPLETED');
  await serve(delivered); // what has begun and ended meanwhile is merged
  await letQueuesPass(db, 3_600, userId);
  for (let n = 0; n < 4; n++) await serve(failed('REJECTED'));
  await drive(
    recordAlerts,
    db,
    idsOf(own).map((workflowId) => ({ event: 'JOB_FAILED' as const, workflowId })),
  );
  await letQueuesPass(db, 86_370, userId);
  await serve(failed('LATER')); // there is no time for another attempt
  await letQueuesPass(db, 86_400, userId);
  await serve(delivered);
  await drive(
    recordAlerts,
    db,
    idsOf(own).map((workflowId) => ({ event: 'JOB_FAILED' as const, workflowId })),
  );
  await letQueuesPass(db, 61, userId);
  // what waits is dropped
  await db.execute(sql`UPDATE alert_channels SET state = 'UNCONFIRMED' WHERE id = ${channels[2]}`);
  await serve(failed('DEAD'));
  await db.transaction(async (tx) => {
    await drive(incidents.resolveIncidents, tx, idsOf(own), 'RECOVERED');
    const failure = { userId, jobId: userId, failures: 1, isIncident: true, isMuted: false, isTerminated: false };
    await drive(
      incidents.countInIncidents,
      tx,
      own.map(({ id: workflowId }) => ({ ...failure, workflowId })),
    );
    await drive(incidents.endIncident, tx, one?.id ?? '');
  });
  await drive(retention.removeOldDeliveries, db, { days: 1, limit: 10 });
  await db.execute(sql`UPDATE alert_channels SET deleted_at = now() - interval '9 days' WHERE id = ${channels[0]}`);
  await drive(retention.removeDeletedChannels, db, { days: 1, limit: 10 });
  await drive(retention.removeOldIncidents, db, { days: 0, limit: 10 });
  await outagesOf(db, drive);
}

/** Outages that begin and end, and what is left of them. */
async function outagesOf(db: Db, drive: Drive): Promise<void> {
  const userId = await testUser(db, 'administrator');
  await db.execute(sql`UPDATE users SET administrator = true WHERE id = ${userId}`);
  await channel(db, userId, { events: [...ALERT_EVENTS] });
  const network = { kind: 'NETWORK', place: 'machine' } as const;
  await drive(outages.beginOutage, db, { ...network, host: 'machine', detail: 'No host.', secondsAgo: 1 });
  await drive(outages.endOutage, db, { ...network, secondsAgo: 1 });
  await db.execute(sql`
    INSERT INTO workers (owner, name, version, host, engine_id, engine_seen_at)
    VALUES ('outages', 'workflow', '1', 'machine', 'lost engine', now() - interval '1 hour')`);
  await drive(outages.beginEngineOutages, db);
  await db.execute(sql`UPDATE workers SET engine_seen_at = now() WHERE owner = 'outages'`);
  await drive(outages.endLeftOutages, db);
  await db.execute(sql`DELETE FROM workers WHERE owner = 'outages'`);
  await drive(retention.removeOldOutages, db, { days: 0, limit: 10 });
}
