import { z } from 'zod';
import type { LogDriver } from './confinement.ts';
import type { Engine } from './engine.ts';
import type { Cgroups } from './process-group.ts';

/** What is known of one engine. It is asked once, and again after `forget`. */
export interface EngineInfo {
  ask(): Promise<Info>;
  /** Whether the engine can bound what a container writes to its disk. True until it says no. */
  boundsDisks: boolean;
  /** The log driver that the engine takes. */
  logDriver: LogDriver;
  /** Forgets the answer, because another engine may be at the address now. */
  forget(): void;
}

export type Info = z.infer<typeof info>;

export function createEngineInfo(engine: Engine): EngineInfo {
  let known: Info | undefined;
  return {
    boundsDisks: true,
    logDriver: 'local',
    async ask() {
      known ??= info.parse(await engine.call({ method: 'GET', path: '/info' }));
      return known;
    },
    forget() {
      known = undefined;
      this.boundsDisks = true;
      this.logDriver = 'local';
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

/**
 * Names the images and volumes of an engine. Engines on one machine may have the same id, because
 * they took it over from one file, but never the same folder.
 */
export function storeOf({ ID, DockerRootDir = USUAL_ROOT }: Info): string {
  return DockerRootDir === USUAL_ROOT ? ID : `${ID} ${DockerRootDir}`;
}

const USUAL_ROOT = '/var/lib/docker';

/** What decides whether the engine can bound the processes of a build. */
export function cgroupsOf({ CgroupDriver = '', CgroupVersion = '1', Architecture = '' }: Info): Cgroups {
  return { driver: CgroupDriver, version: CgroupVersion, architecture: Architecture };
}

const info = z.object({
  ID: z.string().min(1),
  NCPU: z.number(),
  DockerRootDir: z.string().optional(),
  CgroupDriver: z.string().optional(),
  CgroupVersion: z.string().optional(),
  Architecture: z.string().optional(),
});
const clock = z.object({ SystemTime: z.string() });
