import type { Db } from '../../db/client.ts';
import { keptWorkflows, newestWorkflowsOf } from '../../db/lookup.ts';
import type { WorkflowRow } from '../../db/schema.ts';

/** The workflows of one user that is followed, by their ids. */
interface List {
  followers: number;
  rows: Map<string, WorkflowRow>;
  /** Resolves when the rows are read. */
  ready: Promise<void>;
}

/**
 * The last known rows of the workflows of users who follow all of theirs. A purge leaves nothing to
 * read, so these say what was purged.
 */
export class WorkflowLists {
  readonly #db: Db;
  readonly #lists = new Map<string, List>();

  constructor(db: Db) {
    this.#db = db;
  }

  /** Follows the workflows of a user, until the returned function is called once. */
  follow(userId: string): { ready: Promise<void>; release(): void } {
    const list = this.#lists.get(userId) ?? this.#open(userId);
    list.followers += 1;
    const release = () => {
      list.followers -= 1;
      if (list.followers === 0 && this.#lists.get(userId) === list) this.#lists.delete(userId);
    };
    return { ready: list.ready, release };
  }

  /** Notes the newest state of a workflow. */
  note(row: WorkflowRow): void {
    const rows = this.#lists.get(row.userId)?.rows;
    if (!rows) return;
    rows.delete(row.id);
    rows.set(row.id, row);
    for (const oldest of rows.keys()) if (rows.size > KNOWN_MAX) rows.delete(oldest);
  }

  /** The workflows among these ids that were known: as they were, marked as purged. */
  purged(ids: string[]): WorkflowRow[] {
    const lists = [...this.#lists.values()];
    return ids.flatMap((id) => {
      const rows = lists.find((list) => list.rows.has(id))?.rows;
      const row = rows?.get(id);
      rows?.delete(id);
      return row ? [asPurged(row)] : [];
    });
  }

  /** Looks for workflows that are gone, though no hint named them: hints can get lost. */
  async recheck(): Promise<WorkflowRow[]> {
    const gone: string[] = [];
    for (const { rows } of [...this.#lists.values()]) {
      const ids = [...rows.keys()];
      if (ids.length === 0) continue;
      const kept = new Set(await keptWorkflows(this.#db, ids));
      gone.push(...ids.filter((id) => !kept.has(id)));
    }
    return this.purged(gone);
  }

  #open(userId: string): List {
    const rows = new Map<string, WorkflowRow>();
    const read = async () => {
      const newest = await newestWorkflowsOf(this.#db, userId, KNOWN_MAX);
      for (const row of newest.reverse()) if (!rows.has(row.id)) rows.set(row.id, row);
    };
    const list = { followers: 0, rows, ready: read() };
    this.#lists.set(userId, list);
    return list;
  }
}

/** Of more, the purge of those that have not changed for longest is not reported. */
const KNOWN_MAX = 2_000;

function asPurged(row: WorkflowRow): WorkflowRow {
  const now = new Date();
  const { terminatedAt, terminationReason, deletedAt } = row;
  return {
    ...row,
    terminatedAt: terminatedAt ?? now,
    terminationReason: terminationReason ?? 'DELETED',
    deletedAt: deletedAt ?? now,
    purgeRequestedAt: now,
  };
}
