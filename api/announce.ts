import type { Terminated } from '../db/workflows/terminate.ts';
import { buildsQueued, encodeEvent } from '../domain/events.ts';
import {
  CANCEL_CHANNEL,
  type Changed,
  encodeChanged,
  encodeIds,
  SCHEDULE_CHANNEL,
  userChannel,
} from '../domain/hints.ts';
import { encodeChunks, endMarker } from '../domain/logs/chunk.ts';
import type { Services } from './context.ts';

type Told = Pick<Services, 'bus' | 'cache' | 'log'>;

export interface Announcement {
  userId: string;
  /** A build to be done. */
  buildId?: string | undefined;
  /** Whether a schedule has changed, so that scheduling is to look now. */
  schedule?: boolean;
  /** Running jobs and builds that their workers are to stop. */
  stoppingIds?: string[];
  /** Jobs that were ended here: their logs end behind what earlier attempts have printed. */
  endedIds?: string[];
  changed: Changed;
}

/**
 * Says what a mutation has committed. All of it is hints: what is lost is found again in the rows, so that nothing here fails the
 * mutation.
 */
export async function announce({ bus, cache, log }: Told, announcement: Announcement): Promise<void> {
  const { userId, buildId, schedule, stoppingIds, endedIds = [], changed } = announcement;
  await cache.publish(userChannel(userId), encodeChanged(changed));
  if (schedule) await cache.publish(SCHEDULE_CHANNEL, '');
  if (stoppingIds?.length) await cache.publish(CANCEL_CHANNEL, encodeIds(stoppingIds));
  // Neither is awaited: while the broker is away the caller must not wait for it.
  if (endedIds.length > 0) {
    const ends = endedIds.map((id) => ({ key: id, value: encodeChunks([endMarker(id)]) }));
    bus
      .publish('job_logs', ends)
      .catch((error: unknown) =>
        log.warn({ err: error, endedIds }, 'The end of a log could not be told of; whoever follows it asks for it.'),
      );
  }
  if (buildId === undefined) return;
  const messages = buildsQueued([buildId]).map((event) => ({ value: encodeEvent(event) }));
  bus
    .publish('workflows', messages)
    .catch((error: unknown) =>
      log.warn({ err: error, buildId }, 'A queued build could not be told of; the sweep finds it.'),
    );
}

/** What follows from a termination or deletion. */
export function announceEnd(
  services: Told,
  userId: string,
  { workflow, canceledJobIds, stoppingIds }: Terminated,
): Promise<void> {
  return announce(services, {
    userId,
    schedule: true,
    stoppingIds,
    endedIds: canceledJobIds,
    changed: { workflows: [workflow.id], jobs: [...canceledJobIds, ...stoppingIds], builds: stoppingIds },
  });
}
