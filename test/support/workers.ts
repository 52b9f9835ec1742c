import { randomBytes } from 'node:crypto';
import pino from 'pino';
import type { Db } from '../../db/client.ts';
import {
  type ImagePatterns,
  parseImagePatterns,
  parseRegistryAllow,
  type RegistryPolicy,
} from '../../domain/images/registry-allow.ts';
import { type NetworkPolicy, parseAllow } from '../../domain/network/networks.ts';
import type { Bus } from '../../platform/bus/bus.ts';
import { createMemoryBus } from '../../platform/bus/memory.ts';
import type { Cache } from '../../platform/cache/cache.ts';
import { createMemoryCache } from '../../platform/cache/memory.ts';
import { createSealer } from '../../platform/sealer.ts';
import { type ExecutionParts, startExecution } from '../../workers/execution/worker.ts';
import { startJoblogs } from '../../workers/joblogs/worker.ts';
import { startScheduling } from '../../workers/scheduling/worker.ts';
import type { Parts, Worker } from '../../workers/shared/parts.ts';

export const quiet = pino({ level: process.env.LOG_LEVEL ?? 'silent' });

export function loopbackPolicy(): NetworkPolicy {
  const policy = parseAllow('loopback');
  if (typeof policy === 'string') throw new Error(policy);
  return policy;
}

export function registryPolicy(text: string): RegistryPolicy {
  const policy = parseRegistryAllow(text);
  if (typeof policy === 'string') throw new Error(policy);
  return policy;
}

export function imagePatterns(text: string): ImagePatterns {
  const patterns = parseImagePatterns(text);
  if (typeof patterns === 'string') throw new Error(patterns);
  return patterns;
}

/** Seals with a key that only this run has. */
export const testSealer = createSealer(randomBytes(32));

/** The parts of one process with the in-process bus and cache. */
export function memoryParts(db: Db): Parts & { allow: NetworkPolicy } {
  return {
    db,
    bus: createMemoryBus({ log: quiet }),
    cache: createMemoryCache(),
    log: quiet,
    owner: 'test',
    sealer: testSealer,
    allow: loopbackPolicy(),
  };
}

/** Starts scheduling, execution and joblogs. `close` drains them and closes bus and cache. */
export async function startHeartbeatWorkers(parts: ExecutionParts & { bus: Bus; cache: Cache }): Promise<Worker> {
  const workers = [await startJoblogs(parts), await startExecution(parts), await startScheduling(parts)];
  return {
    async close() {
      for (const worker of workers.reverse()) await worker.close();
      await parts.bus.close();
      await parts.cache.close();
    },
  };
}
