import { eq, sql } from 'drizzle-orm';
import { type Effects, noEffects } from '../../domain/effects.ts';
import { MUTE_DAYS_MAX } from '../../domain/limits.ts';
import type { Db } from '../client.ts';
import { type WorkflowRow, workflows } from '../schema.ts';
import { transactionMs } from './schedule.ts';
import { lockWorkflow } from './workflows.ts';

/**
 * Mutes. A muted workflow runs as before and its incidents go on, but its alerts are SUPPRESSED. A
 * mute ends when `muted_until` has passed. The alerting worker then reports an incident that began
 * meanwhile and is still open (alertUnmuted in db/alerts/incidents.ts).
 */

export type MuteChanged =
  | { outcome: 'CHANGED'; workflow: WorkflowRow; effects: Effects }
  | { outcome: 'NOT_FOUND' | 'TERMINATED' }
  /** `now` and `latest` are by the clock of the database. */
  | { outcome: 'UNTIL_PASSED'; now: string }
  | { outcome: 'UNTIL_TOO_LATE'; latest: string };

type Owned = { userId: string; id: string };

/**
 * When a mute ends; null if there is none. For what people see, the clock of a process suffices.
 */
export function mutedUntil({ mutedUntil: until }: Pick<WorkflowRow, 'mutedUntil'>, now = new Date()): Date | null {
  return until !== null && until > now ? until : null;
}

/** Mutes a workflow until an instant. Muting a muted one changes its end. */
export function muteWorkflow(db: Db, { until, ...key }: Owned & { until: Date }): Promise<MuteChanged> {
  return db.transaction(async (tx): Promise<MuteChanged> => {
    const found = await lockWorkflow(tx, key);
    if (found === undefined) return { outcome: 'NOT_FOUND' };
    if (found.terminatedAt !== null) return { outcome: 'TERMINATED' };
    const now = new Date(await transactionMs(tx));
    const latest = new Date(now.getTime() + MUTE_DAYS_MAX * 86_400_000);
    if (until <= now) return { outcome: 'UNTIL_PASSED', now: now.toISOString() };
    if (until > latest) return { outcome: 'UNTIL_TOO_LATE', latest: latest.toISOString() };
    return changeMute(tx, found, until);
  });
}

/** Ends a mute now. A workflow that is not muted stays as it is. */
export function unmuteWorkflow(db: Db, key: Owned): Promise<MuteChanged> {
  return db.transaction(async (tx): Promise<MuteChanged> => {
    const found = await lockWorkflow(tx, key);
    if (found === undefined) return { outcome: 'NOT_FOUND' };
    if (found.terminatedAt !== null) return { outcome: 'TERMINATED' };
    return changeMute(tx, found, null);
  });
}

async function changeMute(tx: Pick<Db, 'update'>, found: WorkflowRow, until: Date | null): Promise<MuteChanged> {
  if (found.mutedUntil?.getTime() === until?.getTime())
    return { outcome: 'CHANGED', workflow: found, effects: noEffects };
  const [workflow] = await tx
    .update(workflows)
    .set({ mutedUntil: until, updatedAt: sql`now()` })
    .where(eq(workflows.id, found.id))
    .returning();
  if (workflow === undefined) throw new Error('An update of a locked row returned none.');
  const changed = [{ userId: workflow.userId, workflows: [workflow.id] }];
  return { outcome: 'CHANGED', workflow, effects: { ...noEffects, changed } };
}
