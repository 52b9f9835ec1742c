import type { Logger } from 'pino';
import type { Db } from '../../db/client.ts';
import type { Sealer } from '../../domain/payload/secret.ts';
import type { Bus } from '../../platform/bus/bus.ts';
import type { Cache } from '../../platform/cache/cache.ts';

/** What every worker receives. `owner` names this process in the leases that it holds. */
export interface Parts {
  db: Db;
  bus: Bus;
  cache: Cache;
  log: Logger;
  owner: string;
  /** Opens the secrets of payloads. */
  sealer: Sealer;
}

/** A worker that is ready. */
export interface Worker {
  /**
   * Drains the worker: it takes no new work, and finishes or passes on what runs. At the deadline
   * it leaves the rest to its leases.
   */
  close(deadline?: AbortSignal): Promise<void>;
}
