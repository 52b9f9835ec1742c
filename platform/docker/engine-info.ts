import { z } from 'zod';
import type { Engine } from './engine.ts';
import type { Cgroups } from './process-group.ts';

/** What is known of one engine. It is asked once, and again after `forget`. */
export interface EngineInfo {
  ask(): Promise<Info>;
  /** Whether the engine can bound what a container writes to its disk. True until it says no. */
  boundsDisks: boolean;
  /** Forgets the answer, because another engine may be at the address now. */
  forget(): void;
}

export type Info = z.infer<typeof info>;

export function createEngineInfo(engine: Engine): EngineInfo {
  let known: Info | undefined;
  return {
    boundsDisks: true,
    async ask() {
      known ??= info.parse(await engine.call({ method: 'GET', path: '/info' }));
      return known;
    },
    forget() {
      known = undefined;
      this.boundsDisks = true;
    },
  };
}

/**
 * The present time by the engine's clock, which dates containers and images. Do not compare it with
 * the clock of another machine.
 */
export async function engineTime(engine: Engine): Promise<Date> {
  return new Date(clock.parse(await engine.call({ method: 'GET', path: '/info' })).SystemTime);
}

/** What decides whether the engine can bound the processes of a build. */
export function cgroupsOf({ CgroupDriver = '', CgroupVersion = '1', Architecture = '' }: Info): Cgroups {
  return { driver: CgroupDriver, version: CgroupVersion, architecture: Architecture };
}

const info = z.object({
  ID: z.string().min(1),
  NCPU: z.number(),
  CgroupDriver: z.string().optional(),
  CgroupVersion: z.string().optional(),
  Architecture: z.string().optional(),
});
const clock = z.object({ SystemTime: z.string() });
