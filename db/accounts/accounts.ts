import { and, eq, isNull, ne, sql } from 'drizzle-orm';
import { newId } from '../../domain/ids.ts';
import type { Db } from '../client.ts';
import { knownAddresses, tokens, type UserRow, users } from '../schema.ts';
import { endSessions } from './sessions.ts';

export interface NewAccount {
  email: string;
  passwordHash: string;
  /** Whether the account is an administrator. The first account always is. */
  administrator?: boolean;
}

/**
 * Creates an account. Returns EXISTS if the email has one, and with `onlyFirst` CLOSED if any
 * account exists. The lock makes calls take turns, so that only one account is the first.
 */
export async function createUser(
  db: Db,
  { administrator = false, ...account }: NewAccount,
  { onlyFirst = false }: { onlyFirst?: boolean } = {},
): Promise<UserRow | 'EXISTS' | 'CLOSED'> {
  return db.transaction(async (transaction) => {
    // The next statement sees what the last holder of the lock committed.
    await transaction.execute(sql`SELECT /* createUser */ pg_advisory_xact_lock(${CREATE_LOCK})`);
    const isFirst = !(await hasAccounts(transaction));
    if (onlyFirst && !isFirst) return 'CLOSED';
    const [user] = await transaction
      .insert(users)
      .values({ id: newId(), ...account, administrator: administrator || isFirst })
      .onConflictDoNothing()
      .returning();
    return user ?? 'EXISTS';
  });
}

/** Whether any account exists. */
export async function hasAccounts(db: Pick<Db, 'select'>): Promise<boolean> {
  const found = await db.select({ id: users.id }).from(users).limit(1);
  return found.length > 0;
}

/**
 * The account of this email, even if it is disabled, and whether it has signed in from `address`
 * before.
 */
export async function findUserByEmail(
  db: Db,
  email: string,
  address: string,
): Promise<{ user: UserRow; isKnownAddress: boolean } | undefined> {
  const known = sql<boolean>`EXISTS (SELECT FROM ${knownAddresses}
    WHERE ${knownAddresses.userId} = ${users.id} AND ${knownAddresses.address} = ${address})`;
  const [found] = await db.select({ user: users, isKnownAddress: known }).from(users).where(hasEmail(email));
  return found;
}

export interface ListedUser {
  id: string;
  email: string;
  administrator: boolean;
  createdAt: Date;
  disabledAt: Date | null;
  /** The last use of its sessions and API tokens, of those that still exist. */
  lastUsedAt: Date | null;
}

/** At most `limit` accounts in the order of their creation, behind the account `after`. */
export async function listUsers(db: Db, { after, limit }: { after: string; limit: number }): Promise<ListedUser[]> {
  // Raw SQL: in a select from one table, drizzle omits the table names, and "id" would mean
  // tokens.id.
  const lastUsedAt = sql<Date | null>`(SELECT max(tokens.last_used_at) FROM tokens WHERE tokens.user_id = users.id)`;
  return db
    .select({
      id: users.id,
      email: users.email,
      administrator: users.administrator,
      createdAt: users.createdAt,
      disabledAt: users.disabledAt,
      lastUsedAt: lastUsedAt.mapWith(tokens.lastUsedAt),
    })
    .from(users)
    .where(sql`${users.id} > ${after}::uuid`)
    .orderBy(users.id)
    .limit(limit);
}

/**
 * Sets the password of the account and ends its sessions. Undefined if no account has this email.
 */
export async function setPassword(
  db: Db,
  { email, passwordHash }: { email: string; passwordHash: string },
): Promise<{ id: string; sessionsEnded: number } | undefined> {
  return db.transaction(async (transaction) => {
    const [user] = await transaction
      .update(users)
      .set({ passwordHash })
      .where(hasEmail(email))
      .returning({ id: users.id });
    return user && { id: user.id, sessionsEnded: await endSessions(transaction, user.id) };
  });
}

/**
 * Replaces the password if `former` is still its hash, and ends all sessions but `keptSession`.
 * Returns undefined if the password has changed meanwhile or the account is disabled. A concurrent
 * sign-in with the former password waits for the row of this account and then creates no session.
 */
export async function changePassword(
  db: Db,
  change: { userId: string; former: string; passwordHash: string; keptSession: string },
): Promise<UserRow | undefined> {
  const { userId, former, passwordHash, keptSession } = change;
  return db.transaction(async (transaction) => {
    const [user] = await transaction
      .update(users)
      .set({ passwordHash })
      .where(and(eq(users.id, userId), eq(users.passwordHash, former), isNull(users.disabledAt)))
      .returning();
    if (user) await endSessions(transaction, userId, { kept: keptSession });
    return user;
  });
}

/**
 * Ends the account's sessions and refuses its API tokens until it is enabled again: for requests at
 * once, for open streams within seconds. The last enabled administrator cannot be disabled.
 */
export async function disableUser(
  db: Db,
  email: string,
): Promise<{ userId: string } | 'LAST_ADMINISTRATOR' | 'UNKNOWN'> {
  return db.transaction(async (transaction) => {
    // If two administrators are disabled at once, one of them must stay.
    await transaction.execute(sql`SELECT /* disableUser */ pg_advisory_xact_lock(${CREATE_LOCK})`);
    const [user] = await transaction.select().from(users).where(hasEmail(email));
    if (user === undefined) return 'UNKNOWN';
    if (user.administrator) {
      const others = and(sql`${users.administrator}`, isNull(users.disabledAt), ne(users.id, user.id));
      if ((await transaction.$count(users, others)) === 0) return 'LAST_ADMINISTRATOR';
    }
    await transaction
      .update(users)
      .set({ disabledAt: sql`coalesce(${users.disabledAt}, now())` })
      .where(eq(users.id, user.id));
    await endSessions(transaction, user.id);
    return { userId: user.id };
  });
}

/**
 * Lets the account sign in again, and its API tokens work again. Returns undefined if no account
 * has this email.
 */
export async function enableUser(db: Db, email: string): Promise<string | undefined> {
  const [enabled] = await db.update(users).set({ disabledAt: null }).where(hasEmail(email)).returning({ id: users.id });
  return enabled?.id;
}

/** An arbitrary number. Creating and disabling accounts take turns under this lock. */
const CREATE_LOCK = 5_243_992;

/** Uses the index on lower(email). */
function hasEmail(email: string) {
  return eq(sql`lower(${users.email})`, email);
}
