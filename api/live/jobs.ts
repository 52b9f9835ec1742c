import type { Db } from '../../db/client.ts';
import { anyJobs } from '../../db/lookup.ts';
import type { JobRow, WorkflowRow } from '../../db/schema.ts';
import { isEnded } from '../../domain/states.ts';
import { cancellable } from '../../platform/async/iterator.ts';
import type { Changes } from './changes.ts';
import { CoalescingQueue } from './coalescing-queue.ts';
import { isOlder, statesSince } from './job-states.ts';

interface Sources {
  db: Db;
  changes: Changes;
}

/** Follows a job: as it is now, then in each of its states, to the terminal one. */
export function followJob({ db, changes }: Sources, { id, userId }: JobRow): AsyncGenerator<JobRow, void, undefined> {
  return cancellable(async function* (signal) {
    const queue = new CoalescingQueue<JobRow>(isOlder);
    const leave = await changes.join(userId);
    const unwatch = changes.jobs.watch(id, (row) => queue.put(id, row));
    try {
      let last: JobRow | undefined;
      // After the watch began, so later changes are in the queue.
      const [now] = await anyJobs(db, [id]);
      for (let next = now; next && !signal.aborted; ) {
        for (const state of statesSince(last, next)) yield state;
        if (last === undefined || !isOlder(next, last)) last = next;
        if (isEnded(next.status)) return;
        next = (await queue.take(signal))?.row;
      }
    } finally {
      unwatch();
      leave();
    }
  });
}

/**
 * Follows the jobs of a workflow: the newest one if there is one, then each state of each job,
 * until the workflow is purged.
 */
export function followJobsOf(
  { changes }: Pick<Sources, 'changes'>,
  workflow: WorkflowRow,
): AsyncGenerator<JobRow, void, undefined> {
  return cancellable(async function* (signal) {
    const queue = new CoalescingQueue<JobRow>(isOlder);
    const leave = await changes.join(workflow.userId);
    const jobs = changes.watchJobsOf(workflow, (job) => job && queue.put(job.id, job));
    const unwatchWorkflow = changes.workflows.watch(workflow.id, (row) => row ?? queue.put(workflow.id, undefined));
    try {
      const known = await jobs.read(ENDED_REMEMBERED);
      const now = known.at(-1);
      if (now) yield now;
      yield* statesOf(queue, known, ENDED_REMEMBERED, signal);
    } finally {
      unwatchWorkflow();
      jobs.leave();
      leave();
    }
  });
}

/** Follows all jobs of a user: each state of each job from now on, until the consumer returns. */
export function followJobsOfUser(
  { changes }: Pick<Sources, 'changes'>,
  userId: string,
): AsyncGenerator<JobRow, void, undefined> {
  return cancellable(async function* (signal) {
    const queue = new CoalescingQueue<JobRow>(isOlder, WAITING_OF_USER_MAX);
    const leave = await changes.join(userId);
    const jobs = changes.watchJobsOfUser(userId, (job) => job && queue.put(job.id, job));
    try {
      const known = await jobs.read(ENDED_OF_USER_REMEMBERED);
      yield* statesOf(queue, known, ENDED_OF_USER_REMEMBERED, signal);
    } finally {
      jobs.leave();
      leave();
    }
  });
}

/** The states of the jobs in `queue` that are new to who knows `known`, until a row is gone. */
async function* statesOf(
  queue: CoalescingQueue<JobRow>,
  known: JobRow[],
  endedMax: number,
  signal: AbortSignal,
): AsyncGenerator<JobRow, void, undefined> {
  const open = new Map<string, JobRow>();
  const ended = new Map<string, JobRow>(); // a hint about one that is forgotten delivers it again
  const note = (job: JobRow) => {
    open.delete(job.id);
    ended.delete(job.id);
    (isEnded(job.status) ? ended : open).set(job.id, job);
    for (const id of ended.keys()) if (ended.size > endedMax) ended.delete(id);
  };
  for (const job of known) note(job);
  for (;;) {
    const taken = await queue.take(signal);
    if (!taken?.row) return; // the consumer returned, or the workflow was purged
    const last = open.get(taken.id) ?? ended.get(taken.id);
    if (last && isOlder(taken.row, last)) continue;
    for (const state of statesSince(last, taken.row)) yield state;
    note(taken.row);
  }
}

const ENDED_REMEMBERED = 50;
const ENDED_OF_USER_REMEMBERED = 2_000;
/** As many workflows as a user has by default can change their jobs at once. */
const WAITING_OF_USER_MAX = 5_000;
