import { buffer } from 'node:stream/consumers';
import { pack } from 'tar-stream';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createContainerFiles } from '../../platform/docker/container-files.ts';
import { createEngine } from '../../platform/docker/engine.ts';
import { dockerHost, IMAGE, openDocker, runLabel } from './support.ts';

const host = dockerHost('files of containers');

describe.skipIf(host === undefined)('files of a container that was not started', () => {
  const engine = createEngine({ host });
  const docker = openDocker(host);
  const files = createContainerFiles(engine);
  const signal = AbortSignal.timeout(60_000);
  const looksInside = true;
  let id: string;

  beforeAll(async () => {
    const name = `chronoverse-test-${process.pid}-files`;
    id = await docker.createContainer({ name, image: IMAGE, entrypoint: ['true'], labels: runLabel() });
    const archive = pack();
    const bytes = buffer(archive);
    archive.entry({ name: 'srv/users' }, 'ann:x:7:8');
    archive.entry({ name: 'srv/link', type: 'symlink', linkname: '../srv/users' });
    for (let n = 0; n < 1_001; n++) archive.entry({ name: `many/in/${n}` }, '');
    archive.finalize();
    const query = { path: '/' };
    await engine.call({ method: 'PUT', path: `/containers/${id}/archive`, query, archive: await bytes });
  });
  afterAll(() => docker.removeContainer(id, { force: true }));

  test('a link is followed for a text, and is no folder', async () => {
    expect(await files.textIn(id, '/srv/link', { bytesMax: 100, signal })).toBe('ann:x:7:8');
    expect(await files.folderIn(id, '/srv/link', { except: [], looksInside, signal })).toBe('LINK');
  });

  test('a folder is looked through as far as that is needed, and no further than the bound', async () => {
    const looked = async (path: string, except: string[], looks = true) =>
      files.folderIn(id, path, { except, looksInside: looks, signal });
    expect(await looked('/srv', [])).toMatchObject({ uid: 0, isEmpty: false });
    expect(await looked('/srv', ['/srv/users', '/srv/link'])).toMatchObject({ isEmpty: true });
    expect(await looked('/srv', ['/srv/users', '/srv/link'], false)).toMatchObject({ isEmpty: false });
    expect(await looked('/many', ['/many/in'])).toMatchObject({ isEmpty: false });
  });

  test('an owner keeps an id as long as some platforms give', async () => {
    const owner = { uid: 1_000_680_000, gid: 1_000_680_001, mode: 0o711 };
    await files.setOwner(id, '/srv', owner);
    expect(await files.folderIn(id, '/srv', { except: [], looksInside, signal })).toMatchObject({
      uid: owner.uid,
      gid: owner.gid,
    });
  });
});
