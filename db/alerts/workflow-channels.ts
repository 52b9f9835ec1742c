import { sql } from 'drizzle-orm';
import { array } from '../arrays.ts';
import type { Db } from '../client.ts';

/** The user has no channels at these places of a choice. The transaction changes nothing. */
export class UnknownAlertChannels extends Error {
  readonly indices: number[];

  constructor(indices: number[]) {
    super('A workflow chose channels that its owner does not have.');
    this.indices = indices;
  }
}

/**
 * Stores which channels a workflow uses instead of the default ones. The locks of the user and of
 * the workflow are held. The ids are UUIDs, each once. Throws UnknownAlertChannels.
 */
export async function chooseAlertChannels(
  tx: Pick<Db, 'execute'>,
  { userId, workflowId, channelIds }: { userId: string; workflowId: string; channelIds: string[] },
): Promise<void> {
  const known = await tx.execute<{ id: string }>(sql`
    SELECT /* chooseAlertChannels */ id FROM alert_channels
    WHERE id = ANY(${array(channelIds, 'uuid')}) AND user_id = ${userId} AND deleted_at IS NULL`);
  const knownIds = new Set(known.map(({ id }) => id));
  const unknown = channelIds.flatMap((id, index) => (knownIds.has(id) ? [] : [index]));
  if (unknown.length > 0) throw new UnknownAlertChannels(unknown);
  await tx.execute(
    sql`DELETE /* chooseAlertChannels */ FROM workflow_alert_channels WHERE workflow_id = ${workflowId}`,
  );
  if (channelIds.length === 0) return;
  await tx.execute(sql`
    INSERT /* chooseAlertChannels */ INTO workflow_alert_channels (workflow_id, channel_id)
    SELECT ${workflowId}::uuid, id FROM unnest(${array(channelIds.toSorted(), 'uuid')}) AS chosen (id)`);
}
