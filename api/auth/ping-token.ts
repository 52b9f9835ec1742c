import { randomBytes } from 'node:crypto';
import type { PingToken } from '../../db/workflows/push.ts';
import { pingTokenPlace, type Sealer } from '../../domain/payload/secret.ts';
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
