import { and, desc, eq, gt, isNull, ne, notInArray, sql } from 'drizzle-orm';
import { array } from '../arrays.ts';
import type { Db } from '../client.ts';
import { type TokenRow, tokens, users } from '../schema.ts';
import { noteAddress } from './known-addresses.ts';
import { insertToken } from './tokens.ts';
import { lockUser } from './user-limits.ts';

export interface NewSession {
  userId: string;
  /**
   * The hash that the sign-in compared with. If the password has changed since, or the account is
   * disabled, no session is created.
   */
  passwordHash: string;
  hash: Buffer;
  expiresAt: Date;
  address: string;
  userAgent: string | null;
}

/**
 * Stores a session under the hash of its secret. Returns undefined if the password was changed or
 * the account disabled since the password was compared. Those changes lock the row of the account
 * too, so no session appears behind them. Removes expired sessions, and the ones unused for longest
 * beyond `countMax`.
 */
export async function createSession(
  db: Db,
  { passwordHash, ...session }: NewSession,
  { countMax }: { countMax: number },
): Promise<TokenRow | undefined> {
  const { userId, address } = session;
  return db.transaction(async (transaction) => {
    const [user] = await transaction
      .select({ id: users.id })
      .from(users)
      .where(and(eq(users.id, userId), eq(users.passwordHash, passwordHash), isNull(users.disabledAt)))
      .for('no key update');
    if (user === undefined) return undefined;
    const kept = transaction
      .select({ id: tokens.id })
      .from(tokens)
      .where(and(isSessionOf(userId), isNotExpired))
      .orderBy(desc(sql`coalesce(${tokens.lastUsedAt}, ${tokens.createdAt})`), desc(tokens.id))
      .limit(countMax - 1);
    await transaction.delete(tokens).where(and(isSessionOf(userId), notInArray(tokens.id, kept)));
    await noteAddress(transaction, userId, address);
    return insertToken(transaction, { kind: 'SESSION', name: null, ...session });
  });
}

/**
 * The valid sessions of these users, newest first. Their number is bounded when they are created.
 */
export async function listSessions(db: Db, userIds: string[]): Promise<TokenRow[]> {
  return db
    .select()
    .from(tokens)
    .where(and(eq(tokens.userId, sql`ANY(${array(userIds, 'uuid')})`), eq(tokens.kind, 'SESSION'), isNotExpired))
    .orderBy(desc(tokens.id));
}

/** Ends all sessions of a user and returns their number. API tokens stay. */
export async function endAllSessions(db: Db, userId: string): Promise<number> {
  return db.transaction((transaction) => endSessions(transaction, userId));
}

/**
 * Ends the sessions of a user except `kept`, and resolves with their number. It locks the row of
 * the user first, as every function does that creates or ends several sessions; without that, two
 * calls at once could deadlock.
 */
export async function endSessions(
  transaction: Pick<Db, 'execute' | 'delete'>,
  userId: string,
  { kept }: { kept?: string } = {},
): Promise<number> {
  await lockUser(transaction, userId);
  const ended = await transaction
    .delete(tokens)
    .where(and(isSessionOf(userId), kept === undefined ? undefined : ne(tokens.id, kept)))
    .returning({ id: tokens.id });
  return ended.length;
}

function isSessionOf(userId: string) {
  return and(eq(tokens.userId, userId), eq(tokens.kind, 'SESSION'));
}

const isNotExpired = gt(tokens.expiresAt, sql`now()`);
