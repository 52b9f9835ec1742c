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

/** A job as it is now, then each of its states, to the terminal one. */
export function followJob({ db, changes }: Sources, { id, userId }: JobRow): AsyncGenerator<JobRow, void, undefined> {
  return cancellable(async function* (signal) {
    const mailbox = new CoalescingQueue<JobRow>(isOlder);
    const leave = await changes.join(userId);
    const unwatch = changes.jobs.watch(id, (row) => mailbox.put(id, row));
    try {
      let last: JobRow | undefined;
      const [now] = await anyJobs(db, [id]); // after the watch has begun: what changes from here on is in the mailbox
      for (let next = now; next && !signal.aborted; ) {
        for (const state of statesSince(last, next)) yield state;
        if (last === undefined || !isOlder(next, last)) last = next;
        if (isEnded(next.status)) return;
        next = (await mailbox.take(signal))?.row;
      }
    } finally {
      unwatch();
      leave();
    }
  });
}

/** The newest job of a workflow, if any, then each state of each of its jobs, until the workflow is there no more. */
export function followJobsOf(
  { changes }: Pick<Sources, 'changes'>,
  workflow: WorkflowRow,
): AsyncGenerator<JobRow, void, undefined> {
  return cancellable(async function* (signal) {
    const mailbox = new CoalescingQueue<JobRow>(isOlder);
    const leave = await changes.join(workflow.userId);
    const jobs = changes.watchJobsOf(workflow, (job) => job && mailbox.put(job.id, job));
    const unwatchWorkflow = changes.workflows.watch(workflow.id, (row) => row ?? mailbox.put(workflow.id, undefined));
    try {
      const known = await jobs.read(ENDED_REMEMBERED);
      const seen = new Map(known.map((job) => [job.id, job])); // the others are no news
      const now = known.at(-1);
      if (now) yield now;
      for (;;) {
        const taken = await mailbox.take(signal);
        if (!taken?.row) return; // stopped, or purged
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

const ENDED_REMEMBERED = 50; // a hint about a job that ended before them would tell of it again
