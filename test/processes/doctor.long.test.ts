import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { findCommand } from '../../dev/services/packages.ts';
import { run } from '../../dev/services/process.ts';
import { openDocker } from '../docker/support.ts';
import { cleanUp, startProcess } from '../support/processes.ts';
import { type FirewalledEngine, firewalledEngine } from '../support/servers.ts';
import { until } from '../support/time.ts';

afterEach(cleanUp);

const SAFE = { LOCAL_IMAGES: 'alpine:*', BUILDS_ALLOWED: 'false' };

async function doctor(env: Record<string, string>) {
  const running = startProcess(['doctor'], { ...SAFE, ...env });
  const { code } = await running.exit();
  const lines = running.output().split('\n');
  const of = (mark: string) =>
    lines.filter((line) => line.startsWith(mark)).map((line) => line.slice(mark.length).trim());
  return { code, unsafe: of('UNSAFE'), fine: of('fine'), unknown: of('unknown') };
}

describe('chronoverse doctor on settings', () => {
  const nowhere = { DOCKER_HOST: 'unix:///nowhere/docker.sock' };

  test('reports no problem if an installation is only its owner’s, and says what it could not check', async () => {
    const found = await doctor(nowhere);
    expect(found).toMatchObject({ code: 0, unsafe: [] });
    expect(found.unknown).toEqual([expect.stringContaining('/nowhere/docker.sock')]);
  });

  test('names each unsafe setting, ends with 1, and shows no secret', async () => {
    const { code, unsafe } = await doctor({
      HOST: '0.0.0.0',
      SIGN_UP: 'open',
      TRUST_PROXY: 'true',
      DATABASE_URL: 'postgres://chronoverse:hidden@db.example/chronoverse',
      REDIS_URL: 'redis://redis.example:6379',
      HEARTBEAT_ALLOW: 'public,private',
      ALERT_ALLOW: 'public,private',
      REGISTRY_ALLOW: 'public,loopback',
      LOCAL_IMAGES: '*',
      DOCKER_HOST: 'tcp://127.0.0.1:1',
    });
    expect(code).toBe(1);
    for (const setting of [
      'SIGN_UP',
      'TRUST_PROXY',
      'SECRET_KEY',
      'HOST',
      'HEARTBEAT_ALLOW',
      'ALERT_ALLOW',
      'REGISTRY_ALLOW',
      'LOCAL_IMAGES',
      'REDIS_URL',
    ])
      expect(unsafe).toContainEqual(expect.stringMatching(new RegExp(`^${setting}\\b`)));
    expect(unsafe.join()).not.toContain('hidden');
    const proxied = await doctor({ ...nowhere, PUBLIC_URL: 'http://chronoverse.example' });
    expect(proxied.unsafe).toEqual([expect.stringMatching(/^PUBLIC_URL .*in the clear/)]);
    const remote = await doctor({ DOCKER_HOST: 'tcp://192.0.2.1:2375', CONTAINER_NETWORKS: 'NONE' });
    expect(remote.unsafe).toEqual([expect.stringMatching(/^DOCKER_HOST .*without TLS/)]);
  });
});

const engine = await firewalledEngine('what chronoverse doctor finds on an engine, and the firewall of the docs');
describe.skipIf(engine === undefined)('chronoverse doctor on an engine', () => {
  let own: FirewalledEngine;
  const outside = `cv-out-${process.pid}`;
  const inOutside = (...args: string[]) => run('nsenter', [`--net=/run/netns/${outside}`, '--', ...args]);
  const servers: { kill(): unknown }[] = [];
  const LISTEN =
    "const n = require('net'); for (const p of process.argv.slice(1)) n.createServer((s) => s.on('error', () => 0)).listen(p)";

  /**
   * Hosts beyond the engine's host: the metadata of a cloud, a database in a private network, and a
   * public address.
   */
  beforeAll(async () => {
    if (engine === undefined) return;
    own = engine;
    await own.start();
    await run('ip', ['netns', 'add', outside]);
    const [here, there] = [`cvi${process.pid}`, `cvo${process.pid}`];
    await inOutside('ip', 'link', 'add', here, 'type', 'veth', 'peer', 'name', there);
    await inOutside('ip', 'link', 'set', here, 'netns', `/run/netns/${own.name}`);
    for (const address of ['192.0.2.2/24', '169.254.169.254/32', '10.99.0.1/32', '203.0.113.9/32'])
      await inOutside('ip', 'address', 'add', address, 'dev', there);
    await inOutside('ip', 'link', 'set', there, 'up');
    await own.inside('ip', 'address', 'add', '192.0.2.1/24', 'dev', here);
    await own.inside('ip', 'link', 'set', here, 'up');
    await own.inside('ip', 'route', 'add', 'default', 'via', '192.0.2.2');
    const node = [process.execPath, '-e', LISTEN, '--', '80', '5432', '6379'];
    servers.push(spawn('nsenter', [`--net=/run/netns/${outside}`, '--', ...node], { stdio: 'ignore' }));
    servers.push(own.serve(process.execPath, '-e', LISTEN, '--', '4444'));
    await until('all listens', async () => {
      const listening = [(await inOutside('ss', '-ltn')).stdout, await own.inside('ss', '-ltn')];
      return listening[0]?.includes(':5432') && listening[1]?.includes(':4444');
    });
  });
  afterAll(async () => {
    for (const server of servers) server.kill();
    await run('ip', ['netns', 'delete', outside]).catch(() => undefined);
    await own?.close();
  });

  const settings = () => ({
    DOCKER_HOST: own.address,
    DATABASE_URL: 'postgres://chronoverse:hidden@10.99.0.1/chronoverse',
    SECRET_KEY: '00'.repeat(32),
    HEARTBEAT_ALLOW: 'public',
    ALERT_ALLOW: 'public',
    REDIS_URL: 'redis://:hidden@203.0.113.9:6379',
    PORT: '4444',
  });

  test('reports what a container can reach, and leaves nothing behind', async () => {
    const { code, unsafe, fine } = await doctor(settings());
    expect(code).toBe(1);
    expect(unsafe).toEqual([
      expect.stringMatching(/metadata .*169\.254\.169\.254, port 80/),
      expect.stringMatching(/the database .*10\.99\.0\.1, port 5432/),
      expect.stringMatching(/Redis .*203\.0\.113\.9/),
      expect.stringMatching(/the api through the host .*port 4444/),
      expect.stringMatching(/reaches the host of the engine/),
    ]);
    expect(fine).toContainEqual('A container of one user does not reach one of another.');
    expect(fine).toContainEqual('Two containers of one user do not reach each other.');
    const docker = openDocker(own.address);
    expect(await docker.listContainers({})).toEqual([]);
    expect((await docker.listNetworks({})).map(({ name }) => name).sort()).toEqual(['bridge', 'host', 'none']);
  });

  test('leaves nothing behind if it is stopped in the middle', async () => {
    const docker = openDocker(own.address);
    const running = startProcess(['doctor'], { ...SAFE, ...settings() });
    await until('a container is there', async () => (await docker.listContainers({})).length > 0);
    await running.kill('SIGINT');
    expect(await docker.listContainers({})).toEqual([]);
    expect((await docker.listNetworks({})).map(({ name }) => name).sort()).toEqual(['bridge', 'host', 'none']);
  });

  test('confirms that the rules of the docs keep containers from all of it, and that public addresses stay reachable', async () => {
    const text = await readFile('docs/operate/confinement.md', 'utf8');
    const rules = /^## Firewall\n[\s\S]*?```sh\n([\s\S]*?)```/m.exec(text)?.[1] ?? '';
    const path = (await findCommand('iptables')) ?? '';
    for (let times = 0; times < 2; times += 1)
      await own.inside('sh', '-ec', rules.replaceAll(/\biptables /g, `${path} `));
    const { unsafe } = await doctor(settings());
    expect(unsafe).toEqual([expect.stringMatching(/Redis .*203\.0\.113\.9/)]);
    const { REDIS_URL: _, ...rest } = settings();
    expect(await doctor(rest)).toMatchObject({ code: 0, unsafe: [], unknown: [] });
  });

  test('says so if there is no image to test with, and if users have no network', async () => {
    const none = await doctor({ ...settings(), CONTAINER_NETWORKS: 'NONE' });
    expect(none).toMatchObject({
      code: 0,
      fine: expect.arrayContaining([expect.stringContaining('CONTAINER_NETWORKS')]),
    });
    const docker = openDocker(own.address);
    for (const image of ['alpine:3', 'busybox:latest']) await docker.removeImage(image);
    const { unknown } = await doctor(settings());
    expect(unknown).toEqual([expect.stringContaining('docker pull')]);
  });
});
