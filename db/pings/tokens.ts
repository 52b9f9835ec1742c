import { eq, sql } from 'drizzle-orm';
import { type Effects, noEffects } from '../../domain/effects.ts';
import { arrayText } from '../arrays.ts';
import type { Db } from '../client.ts';
import { named } from '../named.ts';
import { preparedByShape } from '../prepared.ts';
import { pings, type WorkflowRow, workflows } from '../schema.ts';
import type { PingToken } from '../workflows/push.ts';
import { lockWorkflow } from '../workflows/workflows.ts';

/** The sealed tokens of these workflows. Those that expect no pings are left out. */
export async function pingTokensOf(db: Db, workflowIds: string[]): Promise<{ workflowId: string; token: string }[]> {
  const values = { ids: arrayText(workflowIds, 'uuid') };
  return pingTokensOfQuery(db, values).execute(values);
}

const pingTokensOfQuery = preparedByShape((db, _, name) =>
  named(
    'pingTokensOf',
    db
      .select({ workflowId: pings.workflowId, token: pings.token })
      .from(pings)
      .where(eq(pings.workflowId, sql`ANY(${sql.placeholder('ids')}::uuid[])`)),
  ).prepare(name),
);

/** Those of these hashes, in hex, that are of the token of a ping URL. */
export async function knownPingTokens(db: Db, hashes: Buffer[]): Promise<Set<string>> {
  const values = { hashes: arrayText(hashes, 'bytea') };
  const rows = await knownPingTokensQuery(db, values).execute(values);
  return new Set(rows.map(({ hash }) => hash));
}

const knownPingTokensQuery = preparedByShape((db, _, name) =>
  named(
    'knownPingTokens',
    db
      .select({ hash: sql<string>`encode(${pings.tokenHash}, 'hex')` })
      .from(pings)
      .where(eq(pings.tokenHash, sql`ANY(${sql.placeholder('hashes')}::bytea[])`)),
  ).prepare(name),
);

export type PingTokenRotated =
  | { outcome: 'ROTATED'; workflow: WorkflowRow; effects: Effects }
  | { outcome: 'NOT_FOUND' | 'TERMINATED' | 'NO_PUSH' };

/** Gives a push heartbeat another token: from now on nobody has the one before. */
export function rotatePingToken(
  db: Db,
  { userId, id, token }: { userId: string; id: string; token: PingToken },
): Promise<PingTokenRotated> {
  return db.transaction(async (tx): Promise<PingTokenRotated> => {
    const found = await lockWorkflow(tx, { userId, id });
    if (found === undefined) return { outcome: 'NOT_FOUND' };
    if (found.terminatedAt !== null) return { outcome: 'TERMINATED' };
    const rotated = await tx
      .update(pings)
      .set({ tokenHash: token.hash, token: token.sealed })
      .where(eq(pings.workflowId, id))
      .returning({ workflowId: pings.workflowId });
    if (rotated.length === 0) return { outcome: 'NO_PUSH' };
    const [workflow] = await tx
      .update(workflows)
      .set({ updatedAt: sql`now()` })
      .where(eq(workflows.id, id))
      .returning();
    if (workflow === undefined) throw new Error('An update of a locked row returned none.');
    return { outcome: 'ROTATED', workflow, effects: { ...noEffects, changed: [{ userId, workflows: [id] }] } };
  });
}
