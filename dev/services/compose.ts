/**
 * Runs the same servers from images, if a Docker engine with its compose plugin is present and a
 * registry answers.
 */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import Docker from 'dockerode';
import { canPull } from './base-image.ts';
import { findCommand } from './packages.ts';
import { run } from './process.ts';
import { checkoutId, type State, servicesDir } from './state.ts';

const file = join(dirname(fileURLToPath(import.meta.url)), 'compose.yml');
const project = ['compose', '-f', file, '-p', `chronoverse-services-${checkoutId}`];
const ASK_MS = 5_000;
const UP_MS = 600_000;

/**
 * The address of the engine that was there before us, if one answers. Never the engine that an
 * earlier call started.
 */
export async function findEngine(): Promise<string | undefined> {
  const named = process.env.DOCKER_HOST?.includes(servicesDir) ? undefined : process.env.DOCKER_HOST;
  const host = named || (await contextHost()) || 'unix:///var/run/docker.sock';
  // The ports of an engine on another machine would not be on our loopback.
  if (!host.startsWith('unix://')) return undefined;
  try {
    await new Docker({ socketPath: host.slice('unix://'.length), timeout: ASK_MS }).ping();
    return host;
  } catch {
    return undefined;
  }
}

async function contextHost(): Promise<string | undefined> {
  try {
    const format = ['context', 'inspect', '--format', '{{.Endpoints.docker.Host}}'];
    const { stdout } = await run('docker', format, { timeout: ASK_MS, env: { ...process.env, DOCKER_HOST: '' } });
    return stdout.trim() || undefined;
  } catch {
    return undefined;
  }
}

export async function canCompose(host: string): Promise<boolean> {
  if (!(await findCommand('docker'))) return false;
  try {
    await run('docker', ['compose', 'version'], { timeout: ASK_MS });
  } catch {
    return false;
  }
  return canPull(new Docker({ socketPath: host.slice('unix://'.length) }), 'alpine:3');
}

export async function composeUp(state: State): Promise<void> {
  await run('docker', [...project, 'up', '--detach', '--wait'], { env: environment(state), timeout: UP_MS });
}

export async function composeDown(state: State, withData: boolean): Promise<void> {
  await run('docker', [...project, 'down', ...(withData ? ['--volumes'] : [])], {
    env: environment(state),
    timeout: UP_MS,
  });
}

function environment(state: State): NodeJS.ProcessEnv {
  return {
    ...process.env,
    DOCKER_HOST: state.foreignDockerHost,
    POSTGRES_PORT: String(state.ports.postgres),
    POSTGRES_PASSWORD: state.passwords.postgres,
    KAFKA_PORT: String(state.ports.kafka),
    REDIS_PORT: String(state.ports.redis),
    REDIS_PASSWORD: state.passwords.redis,
  };
}
