import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ContainerSpec } from '../../platform/docker/containers.ts';
import { createDocker, type Docker } from '../../platform/docker/docker.ts';
import { requirePart } from '../support/parts.ts';
import { quiet } from '../support/workers.ts';

export const IMAGE = process.env.DEMO_IMAGE ?? 'alpine:3';

export function dockerHost(untested: string): string | undefined {
  return requirePart('docker', untested);
}

export function openDocker(host: string | undefined): Docker {
  return createDocker({ host, log: quiet });
}

/** A label for this run only, which distinguishes its leftovers from those of other runs. */
export function runLabel(): Record<string, string> {
  return { 'chronoverse.test': `${process.pid}-${Date.now()}` };
}

export async function startShell(
  docker: Docker,
  labels: Record<string, string>,
  script: string,
  changes: Partial<ContainerSpec> = {},
): Promise<string> {
  const id = await docker.createContainer({
    name: `chronoverse-test-${process.pid}-${Math.random().toString(36).slice(2)}`,
    image: IMAGE,
    entrypoint: ['sh', '-c'],
    args: [script],
    labels,
    ...changes,
  });
  await docker.startContainer(id);
  return id;
}

export async function removeAll(docker: Docker, labels: Record<string, string>): Promise<void> {
  for (const { id } of await docker.listContainers(labels)) await docker.removeContainer(id, { force: true });
}

const REGISTRY_ERRORS: Record<number, { code: string; message: string }> = {
  401: { code: 'UNAUTHORIZED', message: 'authentication required' },
  404: { code: 'MANIFEST_UNKNOWN', message: 'manifest unknown' },
  429: { code: 'TOOMANYREQUESTS', message: 'You have reached your pull rate limit.' },
};

/**
 * A registry on loopback that answers every request for a manifest with `status`. Engines trust it
 * without TLS.
 */
export async function openRegistry(status: () => number): Promise<{ host: string; server: Server }> {
  const server = createServer((request, response) => {
    const code = request.url === '/v2/' ? 200 : status();
    const error = REGISTRY_ERRORS[code];
    response.writeHead(code, { 'content-type': 'application/json' });
    response.end(error === undefined ? 'no words' : JSON.stringify({ errors: [error] }));
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  return { host: `127.0.0.1:${(server.address() as AddressInfo).port}`, server };
}

/** Removes the networks with these labels. No container may use them any more. */
export async function removeNetworks(docker: Docker, labels: Record<string, string>): Promise<void> {
  for (const { name } of await docker.listNetworks(labels)) await docker.removeNetwork(name);
}

/**
 * What each run gave: the last one is the first that `isSeen`. A busy engine misses the kernel's
 * kill of a few containers in a hundred (containerd issue 8180), so a test of what follows from a
 * kill needs one that the engine saw.
 */
export async function untilKillSeen<T>(run: () => Promise<T>, isSeen: (result: T) => boolean): Promise<T[]> {
  const results: T[] = [];
  for (let runs = 0; runs < 10; runs++) {
    const result = await run();
    results.push(result);
    if (isSeen(result)) break;
  }
  return results;
}
