import { hostname } from 'node:os';
import { noteWorker, noteWorkerStopped } from '../../db/workers.ts';
import { WORKER_BEAT_SECONDS } from '../../domain/limits.ts';
import type { WorkerName } from '../../domain/workers.ts';
import packageJson from '../../package.json' with { type: 'json' };
import { settledBefore } from '../../platform/async/deadline.ts';
import { startRepeating } from '../../platform/async/repeat.ts';
import type { Parts } from './parts.ts';

/**
 * Reports a worker's signs of life, so that operators see it and other workers know its engine. The
 * first one is stored when this resolves, unless the database is away. Returns a function that
 * reports its end.
 */
export async function reportWorker(
  { db, log, owner }: Pick<Parts, 'db' | 'log' | 'owner'>,
  name: WorkerName,
  /** The id of its engine, or undefined while that does not answer. */
  engineId: () => Promise<string | undefined> = async () => undefined,
): Promise<(deadline: AbortSignal) => Promise<void>> {
  const { version } = packageJson;
  const host = hostname();
  const beat = async () => noteWorker(db, { owner, name, version, host, engineId: await engineId() });
  const everyMs = WORKER_BEAT_SECONDS * 1_000;
  await beat().catch((error: unknown) => log.debug({ err: error }, 'The first sign of life was not stored.'));
  const stop = startRepeating(
    { log, what: 'Reporting a sign of life', everyMs, maxMs: everyMs, waitsFirst: true },
    beat,
  );

  async function end(): Promise<void> {
    await stop();
    await noteWorkerStopped(db, { owner, name }).catch((error: unknown) =>
      log.debug({ err: error }, 'The end of a worker was not stored: it counts as lost after a while.'),
    );
  }

  return async (deadline) => {
    await settledBefore(end(), deadline);
  };
}
