import { LRUCache } from 'lru-cache';
import type { Db } from '../../db/client.ts';
import type { ClaimedJob } from '../../db/jobs/claim.ts';
import { type GenerationKey, generationKey, loadPayloads } from '../../db/payloads.ts';
import { credentialsIn } from '../../domain/masking/forms.ts';
import { createMask, type Mask } from '../../domain/masking/mask.ts';
import { mapHeartbeat } from '../../domain/payload/map-secrets.ts';
import type { HeartbeatPayload } from '../../domain/payload/payload.ts';
import { type SealedSecret, type Sealer, UnreadableSecret } from '../../domain/payload/secret.ts';
import { openingOf } from '../../domain/payload/secrets.ts';

const CACHE_BYTES_MAX = 64 * 1024 * 1024;
const ENTRY_BYTES = 300; // the memory of an entry beside its text

/** What a job runs, with its secrets opened, or the reason why they cannot be. */
export type Runnable =
  | {
      payload: HeartbeatPayload<never>;
      mask: Mask | undefined;
      /** Names in lower case. */
      secretHeaders?: ReadonlySet<string>;
      unreadable?: undefined;
    }
  | { payload?: undefined; unreadable: string };

/**
 * The payloads of jobs. The payload of a generation never changes, so it is read once and kept
 * while there is room.
 */
export function createPayloadCache(
  db: Db,
  sealer: Sealer,
): {
  /** In the order of `jobs`. Undefined where nothing is stored any more. */
  load(jobs: ClaimedJob[]): Promise<(Runnable | undefined)[]>;
} {
  const cache = new LRUCache<GenerationKey, Runnable>({
    maxSize: CACHE_BYTES_MAX,
    sizeCalculation: (runnable) =>
      runnable.payload === undefined
        ? ENTRY_BYTES
        : JSON.stringify(runnable.payload).length + (runnable.mask?.size ?? 0) + ENTRY_BYTES,
  });
  return {
    async load(jobs) {
      const found = jobs.map((job) => cache.get(generationKey(job)));
      const missing = jobs.filter((_, index) => found[index] === undefined);
      if (missing.length === 0) return found;
      const loaded = new Map<GenerationKey, Runnable>();
      for (const [key, { workflowId, payload }] of await loadPayloads(db, missing)) {
        if (payload.kind !== 'HEARTBEAT') continue;
        const runnable = openHeartbeat(sealer, workflowId, payload);
        if (runnable.payload !== undefined) cache.set(key, runnable);
        loaded.set(key, runnable);
      }
      return jobs.map((job, index) => found[index] ?? loaded.get(generationKey(job)));
    },
  };
}

function openHeartbeat(sealer: Sealer, workflowId: string, payload: HeartbeatPayload): Runnable {
  const { headers = {} } = payload;
  try {
    const { secrets, open } = openingOf(sealer, workflowId);
    const opened = mapHeartbeat<SealedSecret, never>(payload, open);
    const sealed = Object.entries(headers).filter(([, value]) => typeof value !== 'string');
    return {
      payload: opened,
      mask: createMask([...secrets, ...secrets.flatMap(credentialsIn)]),
      secretHeaders: new Set(sealed.map(([name]) => name.toLowerCase())),
    };
  } catch (error) {
    if (error instanceof UnreadableSecret) return { unreadable: error.message };
    throw error;
  }
}
