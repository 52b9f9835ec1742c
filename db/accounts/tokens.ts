import { and, eq, gt, isNull, or, sql } from 'drizzle-orm';
import type { TokenScope } from '../../domain/account/token-scope.ts';
import { newId } from '../../domain/ids.ts';
import { array } from '../arrays.ts';
import type { Db } from '../client.ts';
import { named } from '../named.ts';
import { preparedByShape } from '../prepared.ts';
import { type TokenRow, tokens, type UserRow, users } from '../schema.ts';
import { lockUser } from './user-limits.ts';

/** The owner and the rights of a presented token. */
export interface Identity {
  tokenId: string;
  /**
   * Hexadecimal: a Buffer would keep the whole answer of the database in memory, for hours in some
   * subscriptions.
   */
  hash: string;
  kind: TokenRow['kind'];
  /** WRITE for a session, which may do everything. */
  scope: TokenScope;
  /** Null for sessions. */
  tokenName: string | null;
  lastUsedAt: Date | null;
  user: UserRow;
}

/** Stores an API token, or returns FULL if its owner already has `countMax`. */
export async function createApiToken(
  db: Db,
  token: { userId: string; name: string; hash: Buffer; scope: TokenScope; expiresAt: Date | null },
  { countMax }: { countMax: number },
): Promise<TokenRow | 'FULL'> {
  return db.transaction(async (transaction) => {
    await lockUser(transaction, token.userId); // so that two calls at once count correctly
    const count = await transaction.$count(tokens, and(eq(tokens.userId, token.userId), eq(tokens.kind, 'API')));
    return count >= countMax ? 'FULL' : insertToken(transaction, { kind: 'API', ...token });
  });
}

/** The identities of the tokens with these hashes that are valid now. */
export async function findIdentities(db: Db, hashes: Buffer[]): Promise<Identity[]> {
  const values = { hashes: hashes.map((hash) => `\\x${hash.toString('hex')}`) };
  return identitiesQuery(db, values).execute(values);
}

/** Whether a token is valid now: it may have ended since it was looked up. */
export async function isTokenValid(db: Pick<Db, 'select'>, id: string): Promise<boolean> {
  const found = await named(
    'isTokenValid',
    db
      .select({ id: tokens.id })
      .from(tokens)
      .innerJoin(users, eq(users.id, tokens.userId))
      .where(and(eq(tokens.id, id), isValid)),
  );
  return found.length > 0;
}

/** The ids of those tokens that are valid now. One query checks the tokens of all open streams. */
export async function findValidTokens(db: Db, ids: string[]): Promise<Set<string>> {
  const valid = await named(
    'findValidTokens',
    db
      .select({ id: tokens.id })
      .from(tokens)
      .innerJoin(users, eq(users.id, tokens.userId))
      .where(and(eq(tokens.id, sql`ANY(${array(ids, 'uuid')})`), isValid)),
  );
  return new Set(valid.map(({ id }) => id));
}

/**
 * Notes that the tokens were used, at most once in `everySeconds`. Skips tokens that another
 * transaction changes.
 */
export async function markTokensUsed(db: Db, ids: string[], { everySeconds }: { everySeconds: number }): Promise<void> {
  const longAgo = sql`${tokens.lastUsedAt} < now() - ${everySeconds} * interval '1 second'`;
  const stale = db
    .select({ id: tokens.id })
    .from(tokens)
    .where(and(eq(tokens.id, sql`ANY(${array(ids, 'uuid')})`), or(isNull(tokens.lastUsedAt), longAgo)))
    // Waiting for one row while holding others could deadlock.
    .for('no key update', { skipLocked: true });
  await named(
    'markTokensUsed',
    db
      .update(tokens)
      .set({ lastUsedAt: sql`now()` })
      .where(eq(tokens.id, sql`ANY(ARRAY(${stale}))`)),
  );
}

/** The API tokens of these users, oldest first. Their number is bounded when they are created. */
export async function listApiTokens(db: Db, userIds: string[]): Promise<TokenRow[]> {
  return named(
    'listApiTokens',
    db
      .select()
      .from(tokens)
      .where(and(eq(tokens.userId, sql`ANY(${array(userIds, 'uuid')})`), eq(tokens.kind, 'API')))
      .orderBy(tokens.id),
  );
}

export async function findApiToken(
  db: Db,
  { userId, id }: { userId: string; id: string },
): Promise<TokenRow | undefined> {
  const [token] = await named(
    'findApiToken',
    db
      .select()
      .from(tokens)
      .where(and(eq(tokens.id, id), eq(tokens.userId, userId), eq(tokens.kind, 'API'))),
  );
  return token;
}

/**
 * Ends a session or an API token at once and returns it. Returns undefined if the user has no such
 * token.
 */
export async function revokeToken(
  db: Db,
  { userId, id, kind }: { userId: string; id: string; kind: TokenRow['kind'] },
): Promise<TokenRow | undefined> {
  const [revoked] = await named(
    'revokeToken',
    db
      .delete(tokens)
      .where(and(eq(tokens.id, id), eq(tokens.userId, userId), eq(tokens.kind, kind)))
      .returning(),
  );
  return revoked;
}

/**
 * The condition under which a token, joined with its user, is valid. The tokens of a disabled user
 * become valid again when the user is enabled.
 */
const isValid = and(isNull(users.disabledAt), or(isNull(tokens.expiresAt), gt(tokens.expiresAt, sql`now()`)));

/** Every request with a token runs this query first. */
const identitiesQuery = preparedByShape((db, _, name) =>
  named(
    'findIdentities',
    db
      .select({
        tokenId: tokens.id,
        hash: sql<string>`encode(${tokens.hash}, 'hex')`,
        kind: tokens.kind,
        scope: tokens.scope,
        tokenName: tokens.name,
        lastUsedAt: tokens.lastUsedAt,
        user: users,
      })
      .from(tokens)
      .innerJoin(users, eq(users.id, tokens.userId))
      .where(and(sql`${tokens.hash} = ANY(${sql.placeholder('hashes')}::text[]::bytea[])`, isValid)),
  ).prepare(name),
);

/** Stores a token. The caller has checked that there may be another. */
export async function insertToken(
  db: Pick<Db, 'insert'>,
  token: Omit<typeof tokens.$inferInsert, 'id'>,
): Promise<TokenRow> {
  const [row] = await named(
    'insertToken',
    db
      .insert(tokens)
      .values({ id: newId(), ...token })
      .returning(),
  );
  if (!row) throw new Error('PostgreSQL returned no row for an inserted token.');
  return row;
}
