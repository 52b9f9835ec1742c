import { logReady } from '../platform/log.ts';
import type { WorkerName } from './command-line.ts';
import type { CommandContext } from './context.ts';
import { openParts } from './open-parts.ts';
import { startWorkers } from './start-workers.ts';

const CONNECTIONS_MAX = 10;

/** `chronoverse api`: only the GraphQL server, until a signal arrives. */
export async function runApi(context: CommandContext): Promise<undefined> {
  // A worker need not load it.
  const { listen, refuseTakenPort } = await import('./start-api.ts');
  const { host, port } = context.settings;
  await refuseTakenPort(host, port);
  // Their pool is for the start alone: requests use the api's own.
  const parts = await openParts(context, { migrates: false, connectionsMax: CONNECTIONS_MAX });
  // It needs no engine, so it looks for none at the usual socket.
  const docker = context.settings.dockerHost === undefined ? undefined : await parts.docker();
  const url = await listen(context, parts, { port, docker });
  logReady(context.log, { url }, `ready: ${url}`);
}

/** `chronoverse worker NAME...`: these workers in one process, until a signal arrives. */
export async function runWorkers(context: CommandContext, workers: WorkerName[]): Promise<undefined> {
  const parts = await openParts(context, {
    migrates: false,
    connectionsMax: CONNECTIONS_MAX,
  });
  await startWorkers(context, parts, workers);
  logReady(context.log, { workers }, `ready: ${workers.join(', ')}`);
}
