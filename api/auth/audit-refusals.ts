import type { Logger } from 'pino';
import { type NewAuditEvent, recordAudit } from '../../db/accounts/audit.ts';
import type { Db } from '../../db/client.ts';
import { auditSentence } from '../../domain/account/audit.ts';

export type Refusal = NewAuditEvent & { code: string };

/** Records refused calls in the audit, including failed sign-ins. */
export interface Refusals {
  /**
   * Writes the first refusal of a kind at once. Equal ones within the next minute become one row
   * with their count.
   */
  note(refusal: Refusal): void;
  /** Writes the counts that are not yet written. */
  close(): Promise<void>;
}

const WINDOW_MS = 60_000;
/**
 * How many kinds are counted separately. Beyond them refusals are counted by action and code alone.
 */
const KINDS_MAX = 5_000;
/**
 * Kinds of one account, or of all callers without one. An attacker can have many addresses, each
 * row is kept for long, and nobody may use up the kinds of others. Beyond them refusals are counted
 * by action, code and account.
 */
const KINDS_PER_ACTOR_MAX = 200;

interface Counted {
  refusal: Refusal;
  count: number;
  timer: NodeJS.Timeout;
}

export function createRefusals(db: Db, log: Logger): Refusals {
  const counted = new Map<string, Counted>();
  const kindsByActor = new Map<string | null, number>();
  const writing = new Set<Promise<void>>();

  function write(refusal: Refusal, count: number): void {
    const event = { ...refusal, count };
    log.info({ event: 'audit', ...event }, auditSentence(event));
    const written = recordAudit(db, event).catch((error: unknown) =>
      log.warn({ err: error }, 'A refusal could not be written to the audit.'),
    );
    writing.add(written);
    void written.then(() => writing.delete(written));
  }

  function countKind({ actorId = null }: Refusal, change: 1 | -1): void {
    const count = (kindsByActor.get(actorId) ?? 0) + change;
    if (count > 0) kindsByActor.set(actorId, count);
    else kindsByActor.delete(actorId);
  }

  /** The kind that a refusal is counted as. */
  function kindOf(refusal: Refusal): Refusal {
    const { action, outcome, code, actorId = null } = refusal;
    if (counted.has(keyOf(refusal))) return refusal;
    if (counted.size >= KINDS_MAX) return { action, outcome, code };
    if ((kindsByActor.get(actorId) ?? 0) < KINDS_PER_ACTOR_MAX) return refusal;
    return { action, outcome, code, userId: actorId, actorId };
  }

  function flush(key: string): void {
    const found = counted.get(key);
    counted.delete(key);
    if (found === undefined) return;
    countKind(found.refusal, -1);
    clearTimeout(found.timer);
    if (found.count > 0) write(found.refusal, found.count);
  }

  return {
    note(refusal) {
      const of = kindOf(refusal);
      const key = keyOf(of);
      const found = counted.get(key);
      if (found !== undefined) {
        found.count += 1;
        return;
      }
      countKind(of, 1);
      counted.set(key, { refusal: of, count: 0, timer: setTimeout(() => flush(key), WINDOW_MS).unref() });
      write(of, 1);
    },

    async close() {
      for (const key of [...counted.keys()]) flush(key);
      await Promise.all(writing);
    },
  };
}

function keyOf({ action, code, userId, actorId, tokenId, address }: Refusal): string {
  return JSON.stringify([action, code, userId, actorId, tokenId, address]);
}
