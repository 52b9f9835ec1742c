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
 * Why a run must stop. CANCELED: a cancellation was requested. LOST: the job no longer belongs to
 * this worker, which then writes nothing more about it.
 */
export type StopReason = 'CANCELED' | 'LOST';

export interface LeaseKeeper {
  /**
   * Calls `onStop` at most once for each reason, and not at all after `drop`. It holds one lease of
   * a job or build: an earlier lease is lost by the time this process receives the next one, though
   * the process may not know that yet.
   */
  hold(lease: Lease, onStop: (reason: StopReason) => void): void;
  drop(lease: LeaseKey): void;
  /**
   * Whether the lease cannot have expired yet, by this process's own clocks. The database cannot
   * fence some actions: starting or stopping a container, and printing lines. They require this, so
   * that a process that was frozen does no harm when it continues.
   */
  isFresh(lease: LeaseKey): boolean;
  /**
   * Takes a hint from the channel of cancellations, and asks the database at once. A write to the
   * cache alone cancels nothing.
   */
  onCancelHint(message: string): void;
  close(): Promise<void>;
}

interface Run {
  held: LeaseKey;
  renewedAt: Instant;
  /** Whether its `onStop` knows of the cancellation. */
  isCanceled: boolean;
  onStop: (reason: StopReason) => void;
}

/**
 * Renews every lease of this process by one statement each LEASE_RENEW_SECONDS. A renewal that
 * fails is tried again and stops no run: only the database's answer that the lease is gone does.
 * The same statement finds cancellations whose hint was lost.
 */
export function keepLeases({
  db,
  log,
  renewHeld = renewLeases,
}: {
  db: Db;
  log: Logger;
  /** For builds it is `renewBuildLeases`, which reports a canceled build as lost. */
  renewHeld?: (db: Db, held: LeaseKey[]) => Promise<{ kept: Set<string>; cancelRequested?: Set<string> }>;
}): LeaseKeeper {
  const runs = new Map<string, Run>();
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

  /** A canceled run keeps its lease until its end is written. A lost run is forgotten at once. */
  function end(id: string, reason: StopReason): void {
    const run = runs.get(id);
    if (run === undefined || (reason === 'CANCELED' && run.isCanceled)) return;
    if (reason === 'LOST') runs.delete(id);
    else run.isCanceled = true;
    run.onStop(reason);
  }

  function isHeld({ id, leaseToken }: LeaseKey): boolean {
    return runs.get(id)?.held.leaseToken === leaseToken;
  }

  return {
    hold: (lease, onStop) => {
      end(lease.id, 'LOST');
      runs.set(lease.id, { held: lease, renewedAt: lease.askedAt, isCanceled: false, onStop });
      // The renewal is due already.
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

/** Whether a lease that was asked for or renewed at this moment cannot have expired yet. */
export function isFreshSince(moment: Instant): boolean {
  return elapsedMs(moment) < FRESH_MS;
}

/**
 * Ends 5 seconds before the database lets others take the job: time for the last actions under it.
 */
const FRESH_MS = (LEASE_SECONDS - 5) * 1_000;
