import { execFileSync, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createEngine } from '../../platform/docker/engine.ts';
import { reportMissing } from './parts.ts';
import { freePort } from './ports.ts';
import { until } from './time.ts';

export interface Login {
  username: string;
  password: string;
}

export interface TestRegistry {
  host: string;
  /**
   * Pushes an image of the engine under the name `repository:tag`, and returns the full name. The
   * engine then forgets that name.
   */
  push(image: string, name: string): Promise<string>;
  close(): Promise<void>;
}

/**
 * Whether Debian's docker-registry and htpasswd are present. If not, reports what is left untested.
 */
export function hasRegistry(untested: string): boolean {
  try {
    execFileSync('docker-registry', ['--version'], { stdio: 'ignore' });
    execFileSync('htpasswd', ['-nbB', 'a', 'b'], { stdio: 'ignore' });
    return true;
  } catch {
    reportMissing('docker-registry or htpasswd', untested);
    return false;
  }
}

/** A real registry on loopback that requires `login`. Engines trust it without TLS. */
export async function startRegistry(dockerHost: string, login: Login): Promise<TestRegistry> {
  const folder = await mkdtemp(join(tmpdir(), 'chronoverse-registry-'));
  const host = `127.0.0.1:${await freePort()}`;
  await writeFile(join(folder, 'htpasswd'), execFileSync('htpasswd', ['-nbB', login.username, login.password]));
  await writeFile(
    join(folder, 'config.json'), // JSON is YAML
    JSON.stringify({
      version: 0.1,
      log: { level: 'error' },
      storage: { filesystem: { rootdirectory: join(folder, 'data') } },
      http: { addr: host },
      auth: { htpasswd: { realm: 'test', path: join(folder, 'htpasswd') } },
    }),
  );
  const child = spawn('docker-registry', ['serve', join(folder, 'config.json')], { stdio: 'ignore' });
  const ended = new Promise((resolve) => child.once('close', resolve));
  await until('the registry to answer', () =>
    fetch(`http://${host}/v2/`).then(
      (answer) => answer.status === 401,
      () => false,
    ),
  );

  const engine = createEngine({ host: dockerHost });
  return {
    host,
    async push(image, name) {
      const [repository = '', tag = 'latest'] = name.split(':');
      const repo = `${host}/${repository}`;
      const path = `/images/${image}/tag`;
      await engine.call({ method: 'POST', path, query: { repo, tag } });
      const registryAuth = { ...login, serveraddress: host };
      const answer = await engine.open({ method: 'POST', path: `/images/${repo}/push`, query: { tag }, registryAuth });
      let said = '';
      for await (const part of answer) said += part;
      if (said.includes('"error"')) throw new Error(`The push failed: ${said}`);
      await removeImage(dockerHost, `${repo}:${tag}`);
      return `${repo}:${tag}`;
    },
    async close() {
      child.kill();
      await ended;
      await rm(folder, { recursive: true });
    },
  };
}

/** Removes the name from the engine. It is no error if the engine does not have it. */
export async function removeImage(dockerHost: string, image: string): Promise<void> {
  const engine = createEngine({ host: dockerHost });
  await engine.call({ method: 'DELETE', path: `/images/${image}` }).catch((error: unknown) => {
    if (!(error instanceof Error && /no such image/i.test(error.message))) throw error;
  });
}
