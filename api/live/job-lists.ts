import type { Db } from '../../db/client.ts';
import { jobsToFollow, jobsToRecheck } from '../../db/lookup.ts';
import type { JobRow } from '../../db/schema.ts';
import { NO_ID } from '../../domain/ids.ts';
import { isEnded } from '../../domain/states.ts';

/** What is known of the jobs of one workflow that somebody follows. */
interface List {
  followers: number;
  /** Every job up to this id has been read; undefined before the first reading. */
  readTo: string | undefined;
  /** Jobs that had not ended when they were read last. */
  open: Set<string>;
}

/**
 * The jobs of workflows that somebody follows. A hint names each that changes, and a slow re-check finds what no hint named: jobs that were made since
 * the last look, which come in the order of their ids (a workflow's jobs are made under the lock of its schedule, by one clock), and
 * those that had not ended at the last look, whatever their ids.
 */
export class JobLists {
  readonly #db: Db;
  readonly #lists = new Map<string, List>();

  constructor(db: Db) {
    this.#db = db;
  }

  /** From now on the workflow's jobs are in the re-check. Undo with what is returned, once. */
  follow(workflowId: string): () => void {
    const list = this.#lists.get(workflowId) ?? { followers: 0, readTo: undefined, open: new Set() };
    this.#lists.set(workflowId, list);
    list.followers += 1;
    return () => {
      list.followers -= 1;
      if (list.followers === 0) this.#lists.delete(workflowId);
    };
  }

  /** The workflow's newest jobs, `count` at most, and all that have not ended, in the order of their ids. */
  async read(workflowId: string, count: number): Promise<JobRow[]> {
    const jobs = await jobsToFollow(this.#db, workflowId, count);
    const list = this.#lists.get(workflowId);
    if (list) {
      list.readTo ??= jobs.at(-1)?.id ?? NO_ID;
      note(list, jobs);
    }
    return jobs;
  }

  /** What may have changed since the last look. */
  async recheck(): Promise<JobRow[]> {
    const asked = [...this.#lists].flatMap(([workflowId, { readTo: after, open }]) =>
      after === undefined ? [] : [{ workflowId, after, open: new Set(open) }],
    );
    if (asked.length === 0) return [];
    const jobs = await jobsToRecheck(this.#db, asked, NEW_JOBS_PER_LOOK);
    const byWorkflow = new Map(asked.map(({ workflowId }): [string, JobRow[]] => [workflowId, []]));
    for (const job of jobs) byWorkflow.get(job.workflowId)?.push(job);
    return asked.flatMap(({ workflowId, after, open }) => {
      const own = byWorkflow.get(workflowId) ?? [];
      const made = own.filter(({ id }) => id > after).slice(0, NEW_JOBS_PER_LOOK);
      const list = this.#lists.get(workflowId);
      if (list?.readTo !== undefined) {
        list.readTo = made.at(-1)?.id ?? after;
        for (const id of open) list.open.delete(id); // one that retention has removed is not read again
        note(list, own);
      }
      return own.filter((job) => job.id > after || open.has(job.id) || !isEnded(job.status));
    });
  }
}

function note(list: List, jobs: JobRow[]): void {
  for (const { id, status } of jobs) {
    if (isEnded(status)) list.open.delete(id);
    else list.open.add(id);
  }
}

/** Of one workflow; the next look goes on behind them. */
const NEW_JOBS_PER_LOOK = 100;
