import { eq, sql } from 'drizzle-orm';
import type { Db } from '../../db/client.ts';
import {
  type AlertDeliveryRow,
  alertChannels,
  alertDeliveries,
  alertDue,
  type IncidentRow,
  incidents,
} from '../../db/schema.ts';
import type { OpenAlertTarget } from '../../domain/alerts/alert.ts';
import { sealTarget } from '../../domain/alerts/config.ts';
import type { AlertEvent } from '../../domain/alerts/states.ts';
import { newId } from '../../domain/ids.ts';
import { testSealer } from '../support/workers.ts';

type NewChannel = Partial<typeof alertChannels.$inferInsert> & { target?: OpenAlertTarget };

/** What a channel reports that wants every event of its workflows but single jobs. */
const EVENTS: AlertEvent[] = [
  'WORKFLOW_FAILING',
  'WORKFLOW_RECOVERED',
  'WORKFLOW_TERMINATED',
  'WORKFLOW_BUILD_FAILED',
  'CHANNEL_DISABLED',
];

/** Stores a channel of a user, an active default webhook unless `changes` say otherwise. */
export async function channel(
  db: Db,
  userId: string,
  { target = { kind: 'WEBHOOK', url: 'http://127.0.0.1:1/', secrets: ['whsec_eA=='] }, ...changes }: NewChannel = {},
): Promise<string> {
  const id = changes.id ?? newId();
  await db.insert(alertChannels).values({
    ...{ id, userId, name: 'ops', kind: target.kind, config: sealTarget(testSealer, id, target, 'shown') },
    ...{ events: EVENTS, isDefault: true, includeLog: true, state: 'ACTIVE' },
    ...changes,
  });
  return id;
}

/** The deliveries of a channel, oldest first. */
export function deliveriesOf(db: Db, channelId: string): Promise<AlertDeliveryRow[]> {
  return db.select().from(alertDeliveries).where(eq(alertDeliveries.channelId, channelId)).orderBy(alertDeliveries.id);
}

/** Their events and statuses, for comparison. */
export async function storyOf(db: Db, channelId: string): Promise<string[]> {
  return (await deliveriesOf(db, channelId)).map(({ event, status }) => `${event} ${status}`);
}

/** The incidents of a workflow, oldest first. */
export function incidentsOf(db: Db, workflowId: string): Promise<IncidentRow[]> {
  return db.select().from(incidents).where(eq(incidents.workflowId, workflowId)).orderBy(incidents.id);
}

/** Records `count` deliveries of a channel, as events would. Returns their ids, oldest first. */
export async function queueDeliveries(
  db: Db,
  {
    channelId,
    userId,
    count = 1,
    event = 'JOB_FAILED',
  }: { channelId: string; userId: string; count?: number; event?: AlertEvent },
): Promise<string[]> {
  const ids = Array.from({ length: count }, () => newId()).sort();
  await db.transaction(async (tx) => {
    await tx.insert(alertDeliveries).values(
      ids.map((id, n) => ({
        id,
        channelId,
        userId,
        event,
        workflowId: newId(),
        workflowName: `w${n}`,
        status: 'PENDING' as const,
      })),
    );
    await tx.insert(alertDue).values(ids.map((deliveryId) => ({ deliveryId, channelId })));
  });
  return ids;
}

/** Simulates that `seconds` pass for the queues of channels: of one user, or of all. */
export async function letQueuesPass(db: Db, seconds: number, userId?: string): Promise<void> {
  const back = sql`make_interval(secs => ${seconds})`;
  const ofUser = userId === undefined ? sql`true` : sql`user_id = ${userId}`;
  await db.transaction(async (tx) => {
    await tx.execute(sql`SELECT FROM alert_channels WHERE ${ofUser} ORDER BY id FOR NO KEY UPDATE`);
    await tx.execute(sql`
      UPDATE alert_channels SET retry_at = retry_at - ${back}, attempted_at = attempted_at - ${back}, hold_until = hold_until - ${back},
        digested_at = digested_at - ${back}, first_failed_at = first_failed_at - ${back}, lease_expires_at = lease_expires_at - ${back}
      WHERE ${ofUser}`);
    await tx.execute(sql`
      UPDATE alert_due SET queued_at = queued_at - ${back} WHERE channel_id IN (SELECT id FROM alert_channels WHERE ${ofUser})`);
    await tx.execute(sql`UPDATE alert_deliveries SET created_at = created_at - ${back} WHERE ${ofUser}`);
  });
}
