import { othersBuild } from '../../../db/builds/builds.ts';
import type { Db } from '../../../db/client.ts';
import { hasTurn } from '../../../db/jobs/turns.ts';
import type { Instant } from '../../../platform/async/instant.ts';
import { createUptime } from '../../shared/uptime.ts';

/** A worker with an engine takes what waits within a second or two, unless it is full. */
const WAIT_SECONDS = 10;
/** Looks come every second: after a longer break, other workers get the time to have theirs. */
const GAP_MS = 6_000;

/**
 * When a worker whose engine is away takes builds, which then fail and say so: where no other worker has an engine either. Nobody keeps a list
 * of engines. But while one is there, either the builds that wait are taken, or its worker is full, and then builds are STARTED.
 *
 *   the build that was waiting is taken by another     somebody has an engine: 10 s from anew
 *   a build is STARTED under another's live lease      the same
 *   neither for 10 s of looks without a break          nobody has one: this worker takes what waits, until one of the two happens
 *   two workers without an engine                      one of them takes, the other sees its builds STARTED and leaves the rest to it
 */
export interface LastResort {
  /** Ask at each look that finds a build waiting; `next` is the first of them. */
  mayTake(next: string): Promise<boolean>;
  /** This worker has taken a turn. */
  taken(): void;
  /** Nothing waits, or the engine is there. */
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
