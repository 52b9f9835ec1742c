import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { createDocker } from '../../platform/docker/docker.ts';
import { elf } from '../../platform/docker/elf.ts';
import { createEngine } from '../../platform/docker/engine.ts';
import { tarOf } from '../../platform/docker/tar.ts';
import { removeImage } from '../support/login-registry.ts';
import { requirePart } from '../support/parts.ts';
import { publishImage, publishIndex } from '../support/published-image.ts';
import { hasRegistry, type Registry, startRegistry } from '../support/registry.ts';
import { until } from '../support/time.ts';
import { quiet } from '../support/workers.ts';
import { buildIn, type Installation, openInstallation, storedTexts } from './support.ts';

const untested = 'images for other platforms';
const host = requirePart('docker', untested);
const able = (await hasRegistry(untested)) && host !== undefined;
/** exit(0) */
const ARM64 = elf({ number: 0xb7 }, '000080d2a80b80d2010000d4');
const I386 = elf({ number: 0x03, bits: 32 }, '31dbb801000000cd80');

describe.skipIf(!able)('an image for another platform', () => {
  const made: string[] = [];
  let here: Installation;
  let registry: Registry;
  let foreign: string | undefined;
  let probes = 0;
  const holder = () => ({ name: `chronoverse-test-${process.pid}-${++probes}`, labels: { probe: here.installation } });
  beforeAll(async () => {
    registry = await startRegistry();
    here = await openInstallation(host);
    await here.start();
    const isForeign = (await here.docker.platform()).architecture === 'amd64';
    foreign = isForeign && !(await here.docker.runsPrograms('arm64', holder())) ? 'arm64' : undefined;
  });
  afterAll(async () => {
    await here.close();
    for (const name of made) await removeImage(host ?? '', name);
    await registry.close();
  });

  /** Publishes an image that holds `/run`. */
  async function publish(repository: string, architecture: string, program: Buffer) {
    const layer = await tarOf([{ path: 'run', content: program, executable: true }]);
    const variant = await publishImage(registry, { repository, tag: '1', architecture, layer });
    const image = `127.0.0.1:${registry.port}/${repository}:1`;
    made.push(image);
    return { image, variant };
  }
  const errorOf = async (payload: Parameters<Installation['create']>[0]) => {
    const { buildId } = await here.create(payload);
    return (await buildIn(here.database.db, buildId, 'FAILED')).error;
  };

  test('FAILS its build, which names both platforms: on the engine, from a registry, and in a Dockerfile', async () => {
    if (foreign === undefined) return; // this engine runs it
    const { image } = await publish('arm', 'arm64', ARM64);
    const sentence = `The image ${image} is for linux/arm64, and the Docker engine runs on linux/amd64, which cannot run it. Name an image for linux/amd64.`;
    expect(await errorOf({ image })).toBe(sentence);
    // The pull has left it there.
    expect(await errorOf({ image, pull_policy: 'NEVER' })).toBe(sentence);
    expect(await errorOf({ build: { dockerfile: `FROM ${image}\nENV A=1` } })).toBe(sentence);
  });

  test('of which there is no variant for the engine FAILS its build, which names the platform of the engine', async () => {
    if (foreign === undefined) return;
    const { image, variant } = await publish('index', 'arm64', ARM64);
    await publishIndex(registry, { repository: 'index', tag: '2', architecture: 'arm64', variant });
    expect(await errorOf({ image: image.replace(/1$/, '2') })).toMatch(
      /^The image .* has no variant for the Docker engine, which runs on linux\/amd64\.$/,
    );
  });

  test('that the engine runs nevertheless is used, and the log says so', async () => {
    if (!(await here.docker.runsPrograms('386', holder()))) return;
    const { image } = await publish('i386', '386', I386);
    const { id, buildId } = await here.create({ image, command: ['/run'] });
    await here.job(id, 'COMPLETED');
    expect((await storedTexts(here.database.db, buildId)).join('\n')).toContain(
      `The image ${image} is for linux/386, and the Docker engine runs on linux/amd64, which can run it.`,
    );
  });

  test('an engine is asked by a program, and nothing is left of that', async () => {
    const { architecture } = await here.docker.platform();
    expect(await here.docker.runsPrograms(architecture, holder())).toBe(true);
    expect(await here.docker.runsPrograms('s390x', holder())).toBe(false);
    expect(await here.docker.runsPrograms('z80', holder())).toBeUndefined();
    // Another worker does not know the answers.
    const engine = createEngine({ host });
    const unnamed = async () => {
      const query = { filters: JSON.stringify({ dangling: ['true'], reference: ['chronoverse.invalid/probe'] }) };
      return z.array(z.unknown()).parse(await engine.call({ method: 'GET', path: '/images/json', query })).length;
    };
    const before = await unnamed();
    const other = createDocker({ host, log: quiet });
    expect(await other.runsPrograms(architecture, holder())).toBe(true);
    expect(await other.runsPrograms('s390x', holder())).toBe(false);
    expect(await unnamed()).toBe(before);
    await until(
      'no container is left',
      async () => (await other.listContainers({ probe: here.installation })).length === 0,
    );
  });
});
