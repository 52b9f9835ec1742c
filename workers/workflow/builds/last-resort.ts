import { othersBuild } from '../../../db/builds/leases.ts';
import type { Db } from '../../../db/client.ts';
import { hasTurn } from '../../../db/jobs/turns.ts';
import type { Instant } from '../../../platform/async/instant.ts';
import { createUptime } from '../../shared/uptime.ts';

/** A worker with an engine claims a waiting build within a second or two, unless it is full. */
const WAIT_SECONDS = 10;
/** Checks run every second. After a longer break, other workers get time for theirs. */
const GAP_MS = 6_000;

/**
 * Decides when a worker whose engine is away claims builds, which then wait and say so: when no
 * other worker has an engine either. No list of engines exists. But a worker with an engine either
 * claims the builds that wait, or is full, and then builds are STARTED.
 *
 *   another worker claims the build            somebody has an engine: the 10 s start anew
 *   a build is STARTED under a live lease      the same
 *   neither for 10 s without a break           nobody has one: this worker claims
 *   two workers without an engine              one claims; the other sees STARTED
 */
export interface LastResort {
  /** Ask at each check that finds a build waiting. `next` is the first one. */
  mayTake(next: string): Promise<boolean>;
  /** This worker has claimed a build. */
  taken(): void;
  /** No build waits, or the engine is back. */
  reset(): void;
}

export function createLastResort({
  db,
  owner,
  now,
}: {
  db: Db;
  owner: string;
  now?: (() => Instant) | undefined;
}): LastResort {
  const untouched = createUptime({ gapMs: GAP_MS, now });
  let waiting: string | undefined;
  return {
    async mayTake(next) {
      const isTaken = waiting !== undefined && !(await hasTurn(db, waiting));
      const isBuilding = await othersBuild(db, { owner });
      if (isTaken || isBuilding) reset();
      if (isBuilding) return false;
      waiting ??= next;
      untouched.goesOn();
      return untouched.seconds() >= WAIT_SECONDS;
    },
    taken() {
      waiting = undefined;
    },
    reset,
  };

  function reset(): void {
    waiting = undefined;
    untouched.ended();
  }
}
