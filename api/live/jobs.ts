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
      const seen = new Map(known.map((job) => [job.id, job])); // changes of the others are not new
      const now = known.at(-1);
      if (now) yield now;
      for (;;) {
        const taken = await queue.take(signal);
        if (!taken?.row) return; // the consumer returned, or the workflow was purged
        const last = seen.get(taken.id);
        if (last && isOlder(taken.row, last)) continue;
        for (const state of statesSince(last, taken.row)) yield state;
        seen.delete(taken.id);
        seen.set(taken.id, taken.row);
        const ended = [...seen.values()].filter((job) => isEnded(job.status));
        for (const { id } of ended.slice(0, -ENDED_REMEMBERED)) seen.delete(id);
      }
    } finally {
      unwatchWorkflow();
      jobs.leave();
      leave();
    }
  });
}

const ENDED_REMEMBERED = 50; // a hint about a job that ended earlier would deliver it again
