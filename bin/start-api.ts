import { createServer } from 'node:net';
import { startApi } from '../api/server.ts';
import { hasAccounts } from '../db/accounts/accounts.ts';
import type { Docker } from '../platform/docker/docker.ts';
import type { CommandContext } from './context.ts';
import { isExposed } from './exposure.ts';
import type { OpenParts } from './open-parts.ts';
import { progress } from './progress.ts';
import { PortTaken, StartupError } from './startup-error.ts';

/**
 * Listens, and returns the URL of the GraphQL endpoint. `docker` is the engine whose state `system`
 * shows, if this process has one. Throws a StartupError if the port is taken.
 */
export async function listen(
  context: CommandContext,
  parts: OpenParts,
  { port, docker }: { port: number; docker: Docker | undefined },
): Promise<string> {
  const { settings, shutdown, log } = context;
  const done = progress(log, 'api');
  await sayHowToBegin(context, parts);
  const { host, maxJobSeconds, maxResources, containerPolicy: policy, logRetentionDays, signUp } = settings;
  const { graphiql, introspection } = settings;
  const { publicUrl, allowedOrigins, trustProxy, userLimits, connectionBounds: bounds } = settings;
  try {
    const databaseEmbedded = settings.databaseUrl === undefined;
    const web = { publicUrl, allowedOrigins, trustProxy, graphiql, introspection };
    const limits = { maxJobSeconds, maxResources, policy, logRetentionDays, userLimits, bounds };
    const { apiTokenDaysMax, mutationsPerUserPerHour } = settings;
    const emailReady = settings.smtpUrl !== undefined && settings.mailFrom !== undefined;
    const alerts = { alertAllow: settings.alertAllow, emailReady };
    const accounts = { signUp, apiTokenDaysMax, mutationsPerUserPerHour };
    const own = { port, host, databaseEmbedded, ...limits, ...accounts, ...alerts, ...web };
    const api = await startApi({ ...parts, db: parts.apiDatabase(), docker, settings: own });
    shutdown.add('api', 'api', api.close);
    done(`listens on ${host}`);
    return api.url;
  } catch (error) {
    throw startupErrorFor(error, host, port) ?? error;
  }
}

/**
 * While there is no account, says how to make the first one. If others reach the api too, any of
 * them may be the first and become the administrator. So this is a warning.
 */
async function sayHowToBegin({ log, settings }: CommandContext, { db }: OpenParts): Promise<void> {
  if (await hasAccounts(db)) return;
  const create = 'chronoverse users create EMAIL';
  if (settings.signUp === 'closed')
    return log.info(`There is no account yet, and SIGN_UP is closed: make one with ${create}`);
  const first = 'There is no account yet: who signs up first becomes the administrator.';
  if (!isExposed(settings)) return log.info(first);
  log.warn(
    `${first} Anybody who reaches this server can be that: make the account with ${create}, or set SIGN_UP=closed.`,
  );
}

/**
 * Throws a StartupError if this process cannot listen there. It runs before anything is started, so
 * that the answer comes at once.
 */
export async function refuseTakenPort(host: string, port: number): Promise<void> {
  // A client may connect at this moment.
  const probe = createServer((socket) => socket.on('error', () => undefined).destroy());
  try {
    await new Promise<void>((resolve, reject) => probe.once('error', reject).listen(port, host, resolve));
    await new Promise((resolve) => probe.close(resolve));
  } catch (error) {
    throw startupErrorFor(error, host, port) ?? error;
  }
}

function startupErrorFor(error: unknown, host: string, port: number): StartupError | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'EADDRINUSE') {
    return new PortTaken(
      `Port ${port} of ${host} is taken by another program: stop that one, or choose another port, for example PORT=${port < 65_535 ? port + 1 : 4_000}, or PORT=0 for a free one.`,
    );
  }
  if (code === 'EACCES') {
    return new StartupError(
      `Port ${port} of ${host} is reserved for root: choose one from 1024 on, for example PORT=4000.`,
    );
  }
  if (['EADDRNOTAVAIL', 'ENOTFOUND', 'EAI_AGAIN', 'EINVAL', 'EAFNOSUPPORT'].includes(String(code))) {
    return new StartupError(
      `HOST is "${host}", which is no address of this machine: choose one that is, for example HOST=127.0.0.1.`,
    );
  }
  return undefined;
}
