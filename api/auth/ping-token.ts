import { randomBytes } from 'node:crypto';
import type { Db } from '../../db/client.ts';
import { knownPingTokens } from '../../db/pings/tokens.ts';
import type { PingToken } from '../../db/workflows/push.ts';
import { pingTokenPlace, type Sealer } from '../../domain/payload/secret.ts';
import { setReads } from '../../platform/async/set-reads.ts';
import { hashToken } from './tokens.ts';

/**
 * A token for the ping URL of a workflow: 256 random bits. Its prefix says what it is, so that
 * people and scanners recognize a leaked one.
 */
export function newPingToken(sealer: Sealer, workflowId: string): PingToken {
  const token = `cvp_${randomBytes(32).toString('base64url')}`;
  return { hash: hashToken(token), sealed: sealer.seal(token, pingTokenPlace(workflowId)) };
}

/** Whether a text has the form of such a token. Other texts belong to nobody. */
export function isPingToken(text: string): boolean {
  return /^cvp_[A-Za-z0-9_-]{43}$/.test(text);
}

export interface PingTokens {
  /** Whether a workflow has this token now. */
  isKnown(token: string): Promise<boolean>;
}

/** Looks up the tokens that come at about the same time by one query. */
export function createPingTokens(db: Db): PingTokens {
  const isKnown = setReads<boolean>(async (hashes) => {
    const known = await knownPingTokens(
      db,
      hashes.map((hash) => Buffer.from(hash, 'hex')),
    );
    return (hash) => known.has(hash);
  });
  return { isKnown: (token) => isKnown(hashToken(token).toString('hex')) };
}
