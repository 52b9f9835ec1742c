import type { Db } from '../../db/client.ts';
import { jobsToFollow, jobsToRecheck } from '../../db/lookup.ts';
import type { JobRow } from '../../db/schema.ts';
import { NO_ID } from '../../domain/ids.ts';
import { isEnded } from '../../domain/states.ts';

/** What is known about the jobs of a workflow that is followed. */
interface List {
  followers: number;
  /** Every job up to this id has been read. Undefined before the first read. */
  readTo: string | undefined;
  /** Jobs that had not ended when they were last read. */
  open: Set<string>;
}

/**
 * The jobs of the workflows that are followed. Hints name the jobs that change. A slow re-check
 * finds the others: jobs made since the last look, whose ids come in order (a workflow's jobs are
 * made under the lock of its schedule, by one clock), and jobs that had not ended at the last look,
 * whatever their ids.
 */
export class JobLists {
  readonly #db: Db;
  readonly #lists = new Map<string, List>();

  constructor(db: Db) {
    this.#db = db;
  }

  /** Adds the workflow's jobs to the re-check, until the returned function is called once. */
  follow(workflowId: string): () => void {
    const list = this.#lists.get(workflowId) ?? { followers: 0, readTo: undefined, open: new Set() };
    this.#lists.set(workflowId, list);
    list.followers += 1;
    return () => {
      list.followers -= 1;
      if (list.followers === 0) this.#lists.delete(workflowId);
    };
  }

  /**
   * Reads the newest `count` jobs of the workflow and all that have not ended, in the order of
   * their ids.
   */
  async read(workflowId: string, count: number): Promise<JobRow[]> {
    const jobs = await jobsToFollow(this.#db, workflowId, count);
    const list = this.#lists.get(workflowId);
    if (list) {
      list.readTo ??= jobs.at(-1)?.id ?? NO_ID;
      note(list, jobs);
    }
    return jobs;
  }

  /** Reads the jobs that may have changed since the last look. */
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
        // So that jobs that retention removed are not read again.
        for (const id of open) list.open.delete(id);
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

/** New jobs of one workflow in one look. The next look goes on after them. */
const NEW_JOBS_PER_LOOK = 100;
