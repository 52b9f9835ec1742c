import { createHash, randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import { findIdentities, type Identity, markTokensUsed } from '../../db/accounts/tokens.ts';
import type { Db } from '../../db/client.ts';
import { setReads } from '../../platform/async/set-reads.ts';

export interface Identifier {
  /** The session or API token with this secret. Undefined if it is not valid (any more). */
  identify(token: string): Promise<Identity | undefined>;
}

/**
 * Looks up the tokens that are presented at about the same time by one query. It caches nothing, so
 * that a revoked token is refused at once.
 */
export function createIdentifier(db: Db, log: Logger): Identifier {
  const lookUp = setReads<Identity | undefined>(async (presented) => {
    const found = await findIdentities(db, presented.map(hashToken));
    const byHash = new Map(found.map((identity) => [identity.hash, identity]));
    noteUse(db, log, found);
    return (token) => byHash.get(hashToken(token).toString('hex'));
  });
  return { identify: async (token) => (isToken(token) ? lookUp(token) : undefined) };
}

/**
 * A secret of 256 bits. Its prefix says what it is, so that people and scanners recognize a leaked
 * one.
 */
export function newToken(kind: Identity['kind']): string {
  return `${kind === 'SESSION' ? 'cvs' : 'cva'}_${randomBytes(32).toString('base64url')}`;
}

/**
 * The hash that is stored of a token. A plain hash is enough, because 256 random bits cannot be
 * guessed.
 */
export function hashToken(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

/** Whether a text has the form of a token. Other texts belong to nobody and are not looked up. */
export function isToken(text: string | undefined): text is string {
  return text !== undefined && TOKEN.test(text);
}

const TOKEN = /^cv[sa]_[A-Za-z0-9_-]{43}$/;
const USE_NOTED_EVERY_SECONDS = 60;

function noteUse(db: Db, log: Logger, identities: Identity[]): void {
  const before = Date.now() - USE_NOTED_EVERY_SECONDS * 1_000;
  const stale = identities.filter(({ lastUsedAt }) => lastUsedAt === null || lastUsedAt.getTime() < before);
  if (stale.length === 0) return;
  markTokensUsed(
    db,
    stale.map(({ tokenId }) => tokenId),
    { everySeconds: USE_NOTED_EVERY_SECONDS },
  ).catch((error: unknown) => log.warn({ err: error }, 'The use of tokens could not be noted.'));
}
