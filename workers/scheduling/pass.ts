import type { Db } from '../../db/client.ts';
import { queueDueSlots } from '../../db/jobs/dispatch.ts';
import { reconcileSchedules } from '../../db/jobs/reconcile.ts';
import { type Effects, mergeEffects, noEffects } from '../../domain/effects.ts';

/**
 * Looks once at the schedules that are due, at most `limit`. It writes the rows, and the caller
 * publishes the effects.
 */
export async function schedulingPass({
  db,
  limit,
  watchedSeconds,
}: {
  db: Db;
  limit: number;
  watchedSeconds: (databaseMs: number) => number;
}): Promise<{
  effects: Effects;
  /** Whether there is more to do now. */
  again: boolean;
  /** The calendars that schedules wait for, because they have no more occurrences. */
  exhausted: string[];
}> {
  const { effects, others } = await queueDueSlots(db, { limit });
  const reconciled =
    others.length === 0
      ? { effects: noEffects, again: false, exhausted: [] }
      : await reconcileSchedules(db, others, { watchedSeconds });
  const isFull = effects.dispatched.length + others.length >= limit;
  return {
    effects: mergeEffects(effects, reconciled.effects),
    again: isFull || reconciled.again,
    exhausted: reconciled.exhausted,
  };
}
