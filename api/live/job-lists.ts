import type { JobRow } from '../../db/schema.ts';
import { firstIdAt, NO_ID, timeOfId } from '../../domain/ids.ts';
import { isEnded } from '../../domain/states.ts';

/** What is known about one list of jobs that is followed. */
interface List {
  followers: number;
  /** Jobs up to this id have been read. Undefined before the first read. */
  readTo: string | undefined;
  /** Jobs that had not ended when they were last read. */
  open: Set<string>;
}

/** A look at one list: for jobs after `after`, and for those in `open`, whatever their ids. */
export interface Asked {
  /** The id of the workflow or the user whose jobs the list has. */
  key: string;
  after: string;
  open: Set<string>;
}

/** The lists of one kind: the jobs of a workflow each, or those of a user. */
export interface ListKind {
  keyOf(job: JobRow): string;
  /** Reads the newest `count` jobs and those that have not ended, in the order of their ids. */
  read(key: string, count: number): Promise<JobRow[]>;
  /** Reads at most `count` new jobs of each list, and those that had not ended. */
  readAgain(asked: Asked[], count: number): Promise<JobRow[]>;
  /** New jobs of one list in one look. The next look goes on after them. */
  newJobsPerLook: number;
  /**
   * How long a job may become visible after one with a later id. The jobs of a workflow come in
   * order, because they are made under the lock of its schedule, by one clock.
   */
  overlapMs: number;
}

/**
 * The lists of jobs that are followed. Hints name the jobs that change. A slow re-check finds the
 * others: jobs made since the last look, and jobs that had not ended at the last look.
 */
export class JobLists {
  readonly #kind: ListKind;
  readonly #lists = new Map<string, List>();

  constructor(kind: ListKind) {
    this.#kind = kind;
  }

  /** Adds a list to the re-check, until the returned function is called once. */
  follow(key: string): () => void {
    const list = this.#lists.get(key) ?? { followers: 0, readTo: undefined, open: new Set() };
    this.#lists.set(key, list);
    list.followers += 1;
    return () => {
      list.followers -= 1;
      if (list.followers === 0) this.#lists.delete(key);
    };
  }

  /** Reads the newest `count` jobs of a list and those that have not ended, by their ids. */
  async read(key: string, count: number): Promise<JobRow[]> {
    const jobs = await this.#kind.read(key, count);
    const list = this.#lists.get(key);
    if (list) {
      list.readTo ??= this.#behind(jobs.at(-1)?.id ?? NO_ID);
      note(list, jobs);
    }
    return jobs;
  }

  /** Reads the jobs that may have changed since the last look. */
  async recheck(): Promise<JobRow[]> {
    const { keyOf, newJobsPerLook } = this.#kind;
    const asked = [...this.#lists].flatMap(([key, { readTo: after, open }]) =>
      after === undefined ? [] : [{ key, after, open: new Set(open) }],
    );
    if (asked.length === 0) return [];
    const jobs = await this.#kind.readAgain(asked, newJobsPerLook);
    const byKey = new Map(asked.map(({ key }): [string, JobRow[]] => [key, []]));
    for (const job of jobs) byKey.get(keyOf(job))?.push(job);
    return asked.flatMap(({ key, after, open }) => {
      const own = byKey.get(key) ?? [];
      const made = own.filter(({ id }) => id > after).slice(0, newJobsPerLook);
      const list = this.#lists.get(key);
      if (list?.readTo !== undefined) {
        const last = made.at(-1)?.id ?? after;
        // A full look goes on where it ended, so that it always gets further.
        const next = made.length < newJobsPerLook ? this.#behind(last) : last;
        if (next > after) list.readTo = next;
        // So that jobs that retention removed are not read again.
        for (const id of open) list.open.delete(id);
        note(list, own);
      }
      return own.filter((job) => job.id > after || open.has(job.id) || !isEnded(job.status));
    });
  }

  #behind(id: string): string {
    const { overlapMs } = this.#kind;
    return overlapMs === 0 || id === NO_ID ? id : firstIdAt(new Date(timeOfId(id).getTime() - overlapMs));
  }
}

function note(list: List, jobs: JobRow[]): void {
  for (const { id, status } of jobs) {
    if (isEnded(status)) list.open.delete(id);
    else list.open.add(id);
  }
}
