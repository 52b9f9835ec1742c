import type { Db } from '../../../db/client.ts';
import type { PassedBy } from '../../../db/jobs/turns.ts';
import { type KnownEngine, knownEngines } from '../../../db/workers.ts';

/** The other Docker engines of the installation, as their workers report them. */
export interface OtherEngines {
  /**
   * The engines beside `engineId` that have not passed the turn by. They are some seconds old,
   * unless they are asked for `anew`. When all workers were stopped, none has seen the engine of
   * another one yet: until then, each engine in `named` is expected back.
   */
  beside(engineId: string, passedBy?: PassedBy, options?: { anew?: boolean; named?: string[] }): Promise<KnownEngine[]>;
}

/** Leaves a turn to the workers of other engines. */
export interface Pass {
  seconds: number;
  /** A sentence for the owner, when the job can only wait. */
  waitsFor: string | undefined;
}

/** Each waiting job asks. A worker that has just started is missed for this long. */
const ASKED_AGAIN_MS = 2_000;

export function createOtherEngines(db: Db): OtherEngines {
  let known: Awaited<ReturnType<typeof knownEngines>> = { engines: [], isSettled: false };
  let askedAt = Number.NEGATIVE_INFINITY;
  return {
    async beside(engineId, passedBy = {}, { anew = false, named = [] } = {}) {
      if (anew || performance.now() - askedAt > ASKED_AGAIN_MS) {
        const at = performance.now();
        known = await knownEngines(db);
        askedAt = at;
      }
      const { engines, isSettled } = known;
      const expected = isSettled ? [] : named.filter((id) => !engines.some((engine) => engine.id === id));
      const all = [...engines, ...expected.map((id) => ({ id, isLive: false }))];
      return all.filter(({ id }) => id !== engineId && !(id in passedBy));
    },
  };
}
