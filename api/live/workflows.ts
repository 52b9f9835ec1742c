import type { Db } from '../../db/client.ts';
import { anyWorkflows, databaseNow } from '../../db/lookup.ts';
import type { WorkflowRow } from '../../db/schema.ts';
import { cancellable } from '../../platform/async/iterator.ts';
import type { Changes } from './changes.ts';
import { CoalescingQueue } from './coalescing-queue.ts';

interface Sources {
  db: Db;
  changes: Changes;
}

/** Follows a workflow: as it is now, then after each change, until it is purged. */
export function followWorkflow(
  { db, changes }: Sources,
  { id, userId }: WorkflowRow,
): AsyncGenerator<WorkflowRow, void, undefined> {
  return cancellable(async function* (signal) {
    const queue = new CoalescingQueue<WorkflowRow>();
    const leave = await changes.join(userId);
    const unwatch = changes.workflows.watch(id, (row) => queue.put(id, row));
    try {
      let last = '';
      const [now] = await anyWorkflows(db, [id]);
      for (let next = now; next && !signal.aborted; next = (await queue.take(signal))?.row) {
        const seen = JSON.stringify(next);
        if (seen !== last) yield next;
        last = seen;
      }
    } finally {
      unwatch();
      leave();
    }
  });
}

/**
 * Follows all workflows of a user after each change, until the consumer returns. A purge is the
 * last change of a workflow: the row as it was, with `purgeRequestedAt`.
 */
export function followWorkflowsOf(
  { db, changes }: Sources,
  userId: string,
): AsyncGenerator<WorkflowRow, void, undefined> {
  return cancellable(async function* (signal) {
    const queue = new CoalescingQueue<WorkflowRow>();
    const leave = await changes.join(userId);
    const since = await databaseNow(db).catch((error: unknown) => {
      leave();
      throw error;
    });
    const purged = new Set<string>();
    const watch = changes.watchWorkflowsOf(userId, since, (row) => {
      if (!row || purged.has(row.id)) return; // a look that began before the purge can end after it
      if (row.purgeRequestedAt) keepNewest(purged.add(row.id));
      if (row.purgeRequestedAt || row.updatedAt >= since || (row.deletedAt ?? since) > since) queue.put(row.id, row);
    });
    try {
      await watch.ready;
      const seen = new Map<string, string>();
      for (;;) {
        const taken = await queue.take(signal);
        if (!taken) return;
        const { id, row } = taken;
        const shown = JSON.stringify(row);
        if (!row || seen.get(id) === shown) continue;
        yield row;
        seen.delete(id);
        seen.set(id, shown);
        keepNewest(seen);
      }
    } finally {
      watch.leave();
      leave();
    }
  });
}

function keepNewest(remembered: Map<string, string> | Set<string>): void {
  for (const oldest of remembered.keys()) if (remembered.size > WORKFLOWS_REMEMBERED) remembered.delete(oldest);
}

// The re-check delivers a recently changed one again if it was forgotten.
const WORKFLOWS_REMEMBERED = 1_000;
