import { logReady } from '../platform/log.ts';
import type { CommandContext } from './context.ts';
import { type OpenParts, openParts } from './open-parts.ts';
import { listen, refuseTakenPort } from './start-api.ts';
import { startWorkers } from './start-workers.ts';

/** All workers share one pool. The api has its own. */
const CONNECTIONS_MAX = 20;

/** `chronoverse up`: everything in one process, until a signal arrives. */
export async function runUp(context: CommandContext): Promise<undefined> {
  const { host, port } = context.settings;
  await refuseTakenPort(host, port);
  await startAll(context, { port });
}

/**
 * Starts every part, the workers and the api. When it resolves, the process is ready. `prepare`
 * runs before any client can connect.
 */
export async function startAll(
  context: CommandContext,
  {
    port,
    keepsFiles = false,
    prepare,
  }: { port: number; keepsFiles?: boolean; prepare?: (parts: OpenParts) => Promise<void> },
): Promise<{ parts: OpenParts; url: string }> {
  const parts = await openParts(context, {
    migrates: true,
    connectionsMax: CONNECTIONS_MAX,
    keepsFiles,
  });
  await prepare?.(parts);
  await startWorkers(context, parts);
  const url = await listen(context, parts, { port, docker: await parts.docker() });
  logReady(context.log, { url }, `ready: ${url}`);
  return { parts, url };
}
