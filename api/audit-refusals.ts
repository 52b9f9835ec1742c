import type { Logger } from 'pino';
import { type NewAuditEvent, recordAudit } from '../db/audit.ts';
import type { Db } from '../db/client.ts';
import { auditSentence } from '../domain/audit.ts';

export type Refusal = NewAuditEvent & { code: string };

/** Calls that were refused, failed sign-ins among them. */
export interface Refusals {
  /** The first of a kind is written at once; those that are alike within the minute after it are one row with their count. */
  note(refusal: Refusal): void;
  /** Writes what was counted and not yet written. */
  close(): Promise<void>;
}

const WINDOW_MS = 60_000;
/** Kinds that are counted apart. Beyond them, what comes from many addresses at once is counted by action and code alone. */
const KINDS_MAX = 5_000;
/** Of callers who are not signed in: an attacker may have very many addresses, and each row is kept for long. */
const ANONYMOUS_KINDS_MAX = 200;

interface Counted {
  refusal: Refusal;
  count: number;
  timer: NodeJS.Timeout;
}

export function createRefusals(db: Db, log: Logger): Refusals {
  const counted = new Map<string, Counted>();
  let anonymousKinds = 0;
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

  function flush(key: string): void {
    const found = counted.get(key);
    counted.delete(key);
    if (found === undefined) return;
    if (isAnonymous(found.refusal)) anonymousKinds -= 1;
    clearTimeout(found.timer);
    if (found.count > 0) write(found.refusal, found.count);
  }

  return {
    note(refusal) {
      const isFull = isAnonymous(refusal) ? anonymousKinds >= ANONYMOUS_KINDS_MAX : counted.size >= KINDS_MAX;
      const of = isFull && !counted.has(keyOf(refusal)) ? withoutPeople(refusal) : refusal;
      const key = keyOf(of);
      const found = counted.get(key);
      if (found !== undefined) {
        found.count += 1;
        return;
      }
      if (isAnonymous(of)) anonymousKinds += 1;
      counted.set(key, { refusal: of, count: 0, timer: setTimeout(() => flush(key), WINDOW_MS).unref() });
      write(of, 1);
    },

    async close() {
      for (const key of [...counted.keys()]) flush(key);
      await Promise.all(writing);
    },
  };
}

function isAnonymous({ actorId }: Refusal): boolean {
  return !actorId;
}

function keyOf({ action, code, userId, actorId, tokenId, address }: Refusal): string {
  return JSON.stringify([action, code, userId, actorId, tokenId, address]);
}

function withoutPeople({ action, outcome, code }: Refusal): Refusal {
  return { action, outcome, code };
}
