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

/** A workflow as it is now, then at each change, until it is there no more. */
export function followWorkflow(
  { db, changes }: Sources,
  { id, userId }: WorkflowRow,
): AsyncGenerator<WorkflowRow, void, undefined> {
  return cancellable(async function* (signal) {
    const mailbox = new CoalescingQueue<WorkflowRow>();
    const leave = await changes.join(userId);
    const unwatch = changes.workflows.watch(id, (row) => mailbox.put(id, row));
    try {
      let last = '';
      const [now] = await anyWorkflows(db, [id]);
      for (let next = now; next && !signal.aborted; next = (await mailbox.take(signal))?.row) {
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

/** Each change of any of a user's workflows. It ends when it is stopped. */
export function followWorkflowsOf(
  { db, changes }: Sources,
  userId: string,
): AsyncGenerator<WorkflowRow, void, undefined> {
  return cancellable(async function* (signal) {
    const mailbox = new CoalescingQueue<WorkflowRow>();
    const leave = await changes.join(userId);
    const since = await databaseNow(db).catch((error: unknown) => {
      leave();
      throw error;
    });
    const unwatch = changes.watchWorkflowsOf(userId, since, (row) => {
      if (row && (row.updatedAt >= since || (row.deletedAt ?? since) > since)) mailbox.put(row.id, row);
    });
    try {
      const seen = new Map<string, string>();
      for (;;) {
        const taken = await mailbox.take(signal);
        if (!taken) return;
        const { id, row } = taken;
        const shown = JSON.stringify(row);
        if (!row || seen.get(id) === shown) continue;
        yield row;
        seen.delete(id);
        seen.set(id, shown);
        for (const oldest of seen.keys()) if (seen.size > WORKFLOWS_REMEMBERED) seen.delete(oldest);
      }
    } finally {
      unwatch();
      leave();
    }
  });
}

const WORKFLOWS_REMEMBERED = 1_000; // the re-check tells again of one that was changed lately but has been forgotten
