import { z } from 'zod';
import type { Engine } from './engine.ts';
import { isEngineError } from './errors.ts';

export interface ListedVolume {
  name: string;
  labels: Record<string, string>;
}

export interface Volumes {
  /** The volumes that have all these labels. */
  listVolumes(labels: Record<string, string>): Promise<ListedVolume[]>;
  /**
   * The sizes in bytes, by name, of the volumes whose size the engine knows. For this it reads
   * every file of every volume. Undefined if the engine refuses because another such request is
   * running.
   */
  volumeSizes(options: { signal: AbortSignal }): Promise<Map<string, number> | undefined>;
  /** Returns false while a container mounts it. A missing volume counts as removed. */
  removeVolume(name: string): Promise<boolean>;
}

const SIZES_TIMEOUT_MS = 600_000;

export function createVolumes(engine: Engine): Volumes {
  return {
    async listVolumes(labels) {
      const filters = JSON.stringify({ label: Object.entries(labels).map(([name, value]) => `${name}=${value}`) });
      const listed = list.parse(await engine.call({ method: 'GET', path: '/volumes', query: { filters } }));
      return (listed.Volumes ?? []).map(({ Name, Labels }) => ({ name: Name, labels: Labels ?? {} }));
    },

    async volumeSizes({ signal }) {
      const query = { type: 'volume' }; // engines before 23 also list images and containers
      try {
        const answer = await engine.call({
          method: 'GET',
          path: '/system/df',
          query,
          signal,
          timeoutMs: SIZES_TIMEOUT_MS,
        });
        const known = (list.parse(answer).Volumes ?? []).flatMap(({ Name, UsageData }): [string, number][] =>
          UsageData && UsageData.Size >= 0 ? [[Name, UsageData.Size]] : [],
        );
        return new Map(known);
      } catch (error) {
        if (isEngineError(error) && /already running/i.test(error.words)) return undefined;
        throw error;
      }
    },

    async removeVolume(name) {
      try {
        await engine.call({ method: 'DELETE', path: `/volumes/${encodeURIComponent(name)}` });
        return true;
      } catch (error) {
        if (isEngineError(error, 'NOT_FOUND')) return true;
        if (isEngineError(error, 'CONFLICT')) return false;
        throw error;
      }
    },
  };
}

const list = z.object({
  Volumes: z
    .array(
      z.object({
        Name: z.string(),
        Labels: z.record(z.string(), z.string()).nullish(),
        UsageData: z.object({ Size: z.number() }).nullish(),
      }),
    )
    .nullish(),
});
