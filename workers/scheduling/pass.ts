import type { Db } from '../../db/client.ts';
import { type Dispatched, queueDueSlots } from '../../db/jobs/dispatch.ts';
import { reconcileSchedules } from '../../db/jobs/reconcile.ts';
import { notifiedChanges, type UserChange } from '../shared/announce.ts';

export interface PassResult {
  /** QUEUED jobs that are to be told of on the bus. */
  handOut: Dispatched[];
  /** What those who watch are to be told of. */
  changes: UserChange[];
  /** Of jobs whose logs end here, which is to be told on the bus too. */
  endedLogs: string[];
  /** Whether there is more to do now. */
  again: boolean;
}

/** One look at the schedules that have come up, `limit` at most: rows first, then (by the caller) the hints. */
export async function schedulingPass({
  db,
  limit,
  watchedSeconds,
}: {
  db: Db;
  limit: number;
  watchedSeconds: () => number;
}): Promise<PassResult> {
  const { made, others } = await queueDueSlots(db, { limit });
  const reconciled = others.length === 0 ? undefined : await reconcileSchedules(db, others, { watchedSeconds });
  const handOut = reconciled === undefined ? made : [...made, ...reconciled.handOut];
  const changes = [
    ...[...handOut, ...(reconciled?.changed ?? [])].map(({ userId, id }) => ({ userId, jobs: [id] })),
    ...notifiedChanges(reconciled?.notified ?? []),
  ];
  const endedLogs = reconciled?.endedLogs ?? [];
  return { handOut, changes, endedLogs, again: made.length + others.length >= limit || reconciled?.again === true };
}
