import type { Logger } from 'pino';
import type { Db } from '../../db/client.ts';
import { renewLeases } from '../../db/jobs/leases.ts';
import type { Lease, LeaseKey } from '../../db/lease.ts';
import { decodeIds } from '../../domain/hints.ts';
import { LEASE_RENEW_SECONDS, LEASE_SECONDS } from '../../domain/limits.ts';
import { elapsedMs, type Instant, instant } from '../../platform/async/instant.ts';
import { startRepeating } from '../../platform/async/repeat.ts';
import { Signal } from '../../platform/async/signal.ts';

/**
 * Why a run is to stop: somebody asked for it, or the job is not this worker's any more (then
 * nothing more is written of it).
 */
export type StopReason = 'CANCELED' | 'LOST';

export interface LeaseKeeper {
  /**
   * `onStop` is called at most once for each reason; not at all after `drop`. One lease of a job or
   * build is held: an earlier one is lost by then, of which this process may not know yet when it
   * is given the next one.
   */
  hold(lease: Lease, onStop: (reason: StopReason) => void): void;
  drop(lease: LeaseKey): void;
  /**
   * Whether the lease cannot have expired yet, by this process's own clocks: what cannot be fenced
   * in the database (starting or stopping a container, printing lines) is not done without it, so
   * that a process that was frozen does no harm when it goes on.
   */
  isFresh(lease: LeaseKey): boolean;
  /**
   * A hint of the channel of cancellations: the database is asked at once. Who can write to the
   * cache cancels nothing by it.
   */
  onCancelHint(message: string): void;
  close(): Promise<void>;
}

/**
 * Renews every lease of this process by one statement each LEASE_RENEW_SECONDS. A renewal that
 * fails is tried again and harms nobody: only the database's word that the lease is gone stops a
 * run. The same statement finds cancellations whose hint was lost.
 */
export function keepLeases({
  db,
  log,
  renewHeld = renewLeases,
}: {
  db: Db;
  log: Logger;
  /** Of builds it is `renewBuildLeases`, in which a canceled one is a lost one. */
  renewHeld?: (db: Db, held: LeaseKey[]) => Promise<{ kept: Set<string>; cancelRequested?: Set<string> }>;
}): LeaseKeeper {
  const runs = new Map<string, { held: LeaseKey; onStop: (reason: StopReason) => void; renewedAt: Instant }>();
  const wake = new Signal();
  const everyMs = LEASE_RENEW_SECONDS * 1_000;
  const close = startRepeating({ log, what: 'Renewing leases', everyMs, wake, waitsFirst: true }, renew);

  async function renew(): Promise<void> {
    const asked = [...runs.values()];
    const askedAt = instant();
    const { kept, cancelRequested } = await renewHeld(
      db,
      asked.map(({ held }) => held),
    );
    for (const { held } of asked) {
      const run = runs.get(held.id);
      if (run?.held !== held) continue; // ended meanwhile
      if (kept.has(held.id)) run.renewedAt = askedAt;
      else end(held.id, 'LOST');
      if (cancelRequested?.has(held.id)) end(held.id, 'CANCELED');
    }
  }

  /** A canceled run keeps its lease until its end is written; a lost one is gone. */
  function end(id: string, reason: StopReason): void {
    const run = runs.get(id);
    if (run === undefined) return;
    if (reason === 'LOST') runs.delete(id);
    run.onStop(reason);
  }

  function isHeld({ id, leaseToken }: LeaseKey): boolean {
    return runs.get(id)?.held.leaseToken === leaseToken;
  }

  return {
    hold: (lease, onStop) => {
      end(lease.id, 'LOST');
      const called = new Set<StopReason>();
      runs.set(lease.id, {
        held: lease,
        renewedAt: lease.askedAt,
        onStop: (reason) => {
          if (called.has(reason)) return;
          called.add(reason);
          onStop(reason);
        },
      });
      // Its renewal is due.
      if (elapsedMs(lease.askedAt) >= LEASE_RENEW_SECONDS * 1_000) wake.notify();
    },
    drop: (lease) => {
      if (isHeld(lease)) runs.delete(lease.id);
    },
    isFresh: (lease) => {
      const renewedAt = isHeld(lease) ? runs.get(lease.id)?.renewedAt : undefined;
      return renewedAt !== undefined && isFreshSince(renewedAt);
    },
    onCancelHint: (message) => {
      if (decodeIds(message).some((id) => runs.has(id))) wake.notify();
    },
    close,
  };
}

/** Whether a lease that was asked for, or renewed, at this moment cannot have expired yet. */
export function isFreshSince(moment: Instant): boolean {
  return elapsedMs(moment) < FRESH_MS;
}

/** Before the database lets others take it, with room for what is done under it last. */
const FRESH_MS = (LEASE_SECONDS - 5) * 1_000;
