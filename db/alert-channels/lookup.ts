import { and, desc, eq, isNull, type SQL, sql } from 'drizzle-orm';
import type { AlertDeliveryStatus } from '../../domain/alerts/states.ts';
import { NO_ID } from '../../domain/ids.ts';
import { array, arrayText } from '../arrays.ts';
import type { Db } from '../client.ts';
import { isKept } from '../lookup.ts';
import { named } from '../named.ts';
import { preparedByShape } from '../prepared.ts';
import { sortedById } from '../row-set.ts';
import {
  type AlertChannelRow,
  type AlertDeliveryRow,
  alertChannels,
  alertDeliveries,
  type IncidentRow,
  incidents,
  workflowAlertChannels,
} from '../schema.ts';

/**
 * Channels, deliveries and incidents by id, in one statement for any number of ids. Functions named
 * `...Of` return only the rows of one user. The ids must be UUIDs.
 */

/** Sorts behind every UUIDv7. */
const LAST_ID = 'ffffffff-ffff-ffff-ffff-ffffffffffff';

const IDS = sql`${sql.placeholder('ids')}::uuid[]`;
const ASKED = sql`unnest(${IDS}) AS asked (id)`;

/** Deleted channels too: their deliveries name them. */
export async function alertChannelsOf(db: Db, userId: string, ids: string[]): Promise<AlertChannelRow[]> {
  return named(
    'alertChannelsOf',
    db
      .select()
      .from(alertChannels)
      .where(and(eq(alertChannels.id, sql`ANY(${array(ids, 'uuid')})`), eq(alertChannels.userId, userId))),
  );
}

/** The channels of these users that are not deleted, oldest first. */
export async function listAlertChannels(db: Db, userIds: string[]): Promise<AlertChannelRow[]> {
  const rows = await named(
    'listAlertChannels',
    db
      .select()
      .from(alertChannels)
      .where(and(eq(alertChannels.userId, sql`ANY(${array(userIds, 'uuid')})`), isNull(alertChannels.deletedAt))),
  );
  return sortedById(rows); // for an order of ids, the planner may go through those of all users
}

/** The channels that these workflows have chosen themselves, oldest first. */
export async function ownAlertChannels(
  db: Db,
  workflowIds: string[],
): Promise<{ workflowId: string; channel: AlertChannelRow }[]> {
  const chosen = db
    .select()
    .from(alertChannels)
    .where(
      and(eq(alertChannels.id, sql`ANY(ARRAY[${workflowAlertChannels.channelId}])`), isNull(alertChannels.deletedAt)),
    )
    .limit(1)
    .as('chosen');
  const rows = await named(
    'ownAlertChannels',
    db
      .select({ workflowId: workflowAlertChannels.workflowId, channel: chosen._.selectedFields })
      .from(workflowAlertChannels)
      .crossJoinLateral(chosen)
      .where(eq(workflowAlertChannels.workflowId, sql`ANY(${array(workflowIds, 'uuid')})`)),
  );
  return rows.toSorted((a, b) => (a.channel.id < b.channel.id ? -1 : 1));
}

export async function alertDeliveriesOf(db: Db, userId: string, ids: string[]): Promise<AlertDeliveryRow[]> {
  return named(
    'alertDeliveriesOf',
    db
      .select()
      .from(alertDeliveries)
      .where(and(eq(alertDeliveries.id, sql`ANY(${array(ids, 'uuid')})`), eq(alertDeliveries.userId, userId))),
  );
}

export interface DeliveryWindow {
  status: AlertDeliveryStatus | undefined;
  count: number;
  /** An id outside of the window: only older ones are listed. */
  after: string | undefined;
}

/** The first `count` deliveries of each of the channels after an id, newest first. */
export async function listDeliveriesByChannel(
  db: Db,
  channelIds: string[],
  { status, count, after }: DeliveryWindow,
): Promise<Map<string, AlertDeliveryRow[]>> {
  const values = { ids: arrayText(channelIds, 'uuid'), status, count, after };
  const rows = await deliveriesQuery(db, values).execute(values);
  const byChannel = new Map<string, AlertDeliveryRow[]>();
  for (const { page } of rows) byChannel.set(page.channelId, [...(byChannel.get(page.channelId) ?? []), page]);
  // A join guarantees no order.
  for (const list of byChannel.values()) list.sort((a, b) => (a.id < b.id ? 1 : -1));
  return byChannel;
}

const deliveriesQuery = preparedByShape((db, shape, name) => {
  const before = sql`coalesce(${shape.placeholder('after') ?? sql`NULL`}::uuid, ${LAST_ID}::uuid)`;
  const [place, status] = [sql`(${alertDeliveries.channelId}, ${alertDeliveries.id})`, shape.placeholder('status')];
  const page = db
    .select()
    .from(alertDeliveries)
    // A range of both columns: by `channel_id = x ORDER BY id` the planner may go through the ids
    // of all channels.
    .where(
      and(
        sql`${place} >= (asked.id, ${NO_ID}::uuid)`,
        sql`${place} < (asked.id, ${before})`,
        status && eq(alertDeliveries.status, status),
      ),
    )
    .orderBy(desc(alertDeliveries.channelId), desc(alertDeliveries.id))
    .limit(sql.placeholder('count'))
    .as('page');
  return named(
    'listDeliveriesByChannel',
    db.select({ page: page._.selectedFields }).from(ASKED).crossJoinLateral(page),
  ).prepare(name);
});

/** The number of deliveries of each of the channels, or `max + 1` if there are more than `max`. */
export async function countDeliveriesByChannel(
  db: Db,
  channelIds: string[],
  { status, max }: { status: AlertDeliveryStatus | undefined; max: number },
): Promise<Map<string, number>> {
  const values = { ids: arrayText(channelIds, 'uuid'), status, limit: max + 1 };
  const rows = await countQuery(db, values).execute(values);
  return new Map(rows.map((row) => [row.id, row.count]));
}

const countQuery = preparedByShape((db, shape, name) => {
  const counted = db
    .select({ one: sql`1`.as('one') })
    .from(alertDeliveries)
    .where(ofAsked(shape.placeholder('status')))
    .limit(sql.placeholder('limit'))
    .as('counted');
  return named(
    'countDeliveriesByChannel',
    db
      .select({ id: sql<string>`asked.id`, count: sql<number>`count(*)::integer` })
      .from(ASKED)
      .crossJoinLateral(counted)
      .groupBy(sql`asked.id`),
  ).prepare(name);
});

function ofAsked(status: ReturnType<typeof sql.placeholder> | undefined): SQL | undefined {
  return and(sql`${alertDeliveries.channelId} = asked.id`, status && eq(alertDeliveries.status, status));
}

/** Incidents of workflows that are being purged are left out. */
export async function incidentsOf(db: Db, userId: string, ids: string[]): Promise<IncidentRow[]> {
  return named(
    'incidentsOf',
    db
      .select()
      .from(incidents)
      .where(
        and(
          eq(incidents.id, sql`ANY(${array(ids, 'uuid')})`),
          eq(incidents.userId, userId),
          isKept(incidents.workflowId),
        ),
      ),
  );
}

/** The incidents of these workflows that have not ended: at most one of each. */
export async function openIncidents(db: Db, workflowIds: string[]): Promise<IncidentRow[]> {
  return named(
    'openIncidents',
    db
      .select()
      .from(incidents)
      .where(and(eq(incidents.workflowId, sql`ANY(${array(workflowIds, 'uuid')})`), isNull(incidents.resolvedAt))),
  );
}
