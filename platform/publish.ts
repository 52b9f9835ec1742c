import type { Logger } from 'pino';
import type { Effects, UserChange } from '../domain/effects.ts';
import { buildsQueued, encodeEvent, jobsQueued } from '../domain/events.ts';
import {
  CANCEL_CHANNEL,
  type Changed,
  encodeChanged,
  encodeIds,
  SCHEDULE_CHANNEL,
  userChannel,
} from '../domain/hints.ts';
import { encodeChunks, endMarker } from '../domain/logs/chunk.ts';
import type { Bus } from './bus/bus.ts';
import type { Cache } from './cache/cache.ts';

/**
 * Publishes what follows a committed change: first to the bus, then the hints. The hints do not
 * wait for a slow broker. Resolves when everything is sent or has failed. Never rejects, because
 * the rows still record what was lost: an answer to a caller need not wait for it.
 */
export async function publishEffects(
  { bus, cache, log }: { bus: Bus; cache: Cache; log: Logger },
  effects: Effects,
): Promise<void> {
  logOutcomes(log, effects);
  const onBus = publishToBus(bus, effects).catch((error: unknown) => {
    const { logEnds, queuedBuildIds } = effects;
    const dispatched = effects.dispatched.length;
    log.warn(
      { err: error, dispatched, queuedBuildIds, logEnds },
      'The bus did not take what follows a change; the scheduling worker sends it again.',
    );
  });
  await publishHints(cache, effects);
  await onBus;
}

/**
 * One line for each job or attempt that has failed, and for each run that was skipped. The worker
 * that ended or skipped it logs it, and no other.
 */
export function logOutcomes(log: Logger, { failed, skipped }: Pick<Effects, 'failed' | 'skipped'>): void {
  for (const { message, isRetried, ...job } of failed) {
    if (isRetried) log.info({ event: 'attempt failed', ...job }, `An attempt failed (${job.reason}): ${message}`);
    else log.info({ event: 'job failed', ...job }, `A job failed (${job.reason}): ${message}`);
  }
  for (const { message, ...run } of skipped) log.info({ event: 'run skipped', ...run }, message);
}

/**
 * Publishes the part of `effects` that goes onto the bus. Rejects if the broker cannot be reached.
 * The caller can then send it again.
 */
export async function publishToBus(
  bus: Bus,
  { logEnds, dispatched, queuedBuildIds }: Pick<Effects, 'logEnds' | 'dispatched' | 'queuedBuildIds'>,
): Promise<void> {
  const events = [...jobsQueued(dispatched), ...buildsQueued(queuedBuildIds)];
  await Promise.all([
    logEnds.length > 0 &&
      bus.publish(
        'job_logs',
        logEnds.map((id) => ({ key: id, value: encodeChunks([endMarker(id)]) })),
      ),
    events.length > 0 &&
      bus.publish(
        'workflows',
        events.map((event) => ({ value: encodeEvent(event) })),
      ),
  ]);
}

/**
 * Publishes the hints in `effects`. Each user's subscribers get one hint, whatever the number of
 * rows. After a lost hint, the receiver finds the change when it next looks by itself.
 */
export async function publishHints(
  cache: Cache,
  { changed, stopping, wakeScheduler }: Pick<Effects, 'changed' | 'stopping' | 'wakeScheduler'>,
): Promise<void> {
  const stoppingIds = [...stopping.jobIds, ...stopping.buildIds];
  await Promise.all([
    ...byUser(changed).map(([userId, rows]) => cache.publish(userChannel(userId), encodeChanged(rows))),
    stoppingIds.length > 0 && cache.publish(CANCEL_CHANNEL, encodeIds(stoppingIds)),
    wakeScheduler && cache.publish(SCHEDULE_CHANNEL, ''),
  ]);
}

function byUser(changes: readonly UserChange[]): [userId: string, Changed][] {
  const users = new Map<string, Changed>();
  for (const { userId, ...rows } of changes) {
    const all = users.get(userId) ?? {};
    users.set(userId, all);
    for (const kind of KINDS) {
      const ids = rows[kind];
      if (ids === undefined) continue;
      const known = all[kind];
      if (known === undefined) all[kind] = [...ids];
      else known.push(...ids);
    }
  }
  return [...users];
}

const KINDS = ['jobs', 'builds', 'workflows', 'notifications'] as const;
