/**
 * Provides `alpine:3` for container tests. If no registry can be reached, Debian's static busybox
 * gets the same name.
 */
import { copyFile, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type Docker from 'dockerode';
import { findCommand, requireCommand } from './packages.ts';
import { run } from './process.ts';
import { cacheDir } from './state.ts';

const IMAGE = 'alpine:3';
const PULL_MS = 20_000;

/** Returns a sentence about what it did, or undefined if the image was already present. */
export async function ensureBaseImage(docker: Docker): Promise<string | undefined> {
  if (await has(docker, IMAGE)) return undefined;
  if (await canPull(docker, IMAGE)) return `${IMAGE} pulled.`;
  const busybox = await findBusybox();
  const root = await mkdtemp(join(tmpdir(), 'chronoverse-image-'));
  try {
    await layOut(root, busybox);
    const archive = `${root}.tar`;
    await run(await requireCommand('tar'), [
      '--owner=0',
      '--group=0',
      '--numeric-owner',
      '-C',
      root,
      '-cf',
      archive,
      '.',
    ]);
    const changes = ['CMD ["/bin/sh"]', 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'];
    const stream = await docker.importImage(archive, { repo: 'alpine', tag: '3', changes });
    await drain(stream);
    await docker.getImage(IMAGE).tag({ repo: 'busybox', tag: 'latest' });
    await rm(archive);
  } finally {
    await rm(root, { recursive: true, force: true });
  }
  return `${IMAGE} cannot be pulled here: Debian's static busybox stands in for it (also as busybox:latest).`;
}

async function has(docker: Docker, image: string): Promise<boolean> {
  return docker
    .getImage(image)
    .inspect()
    .then(
      () => true,
      () => false,
    );
}

/**
 * Whether the image can be pulled. Callers also use it to find out whether this machine reaches a
 * registry.
 */
export async function canPull(docker: Docker, image: string): Promise<boolean> {
  const abortSignal = AbortSignal.timeout(PULL_MS);
  try {
    await drain(await docker.pull(image, { abortSignal }));
  } catch {
    return false;
  }
  return has(docker, image); // the stream of a failed pull ends like that of a successful one
}

async function drain(stream: NodeJS.ReadableStream): Promise<void> {
  for await (const _ of stream) {
    // the stream ends when the engine is done
  }
}

/**
 * Downloads and unpacks busybox without installing it: the package would replace another busybox of
 * the machine.
 */
async function findBusybox(): Promise<string> {
  const dir = join(cacheDir, 'busybox');
  const binary = join(dir, 'bin', 'busybox');
  if (
    await run(binary, ['true']).then(
      () => true,
      () => false,
    )
  )
    return binary;
  const apt = await findCommand('apt-get');
  if (!apt) throw new Error(`${IMAGE} cannot be pulled and there is no apt-get to fetch busybox-static with.`);
  await mkdir(dir, { recursive: true, mode: 0o777 });
  try {
    await run(apt, ['-qq', 'download', 'busybox-static'], { cwd: dir });
  } catch {
    await run(apt, ['-qq', 'update']); // a new machine has no package lists yet
    await run(apt, ['-qq', 'download', 'busybox-static'], { cwd: dir });
  }
  const archive = (await readdir(dir)).find((name) => name.endsWith('.deb'));
  if (!archive) throw new Error('apt-get downloaded no busybox-static.');
  await run(await requireCommand('dpkg-deb'), ['-x', join(dir, archive), dir]);
  return binary;
}

async function layOut(root: string, busybox: string): Promise<void> {
  for (const dir of ['bin', 'sbin', 'usr/bin', 'usr/sbin', 'etc', 'root', 'home', 'proc', 'sys', 'dev', 'run', 'var']) {
    await mkdir(join(root, dir), { recursive: true });
  }
  for (const dir of ['tmp', 'var/tmp']) await mkdir(join(root, dir), { recursive: true });
  await run('chmod', ['1777', join(root, 'tmp'), join(root, 'var/tmp')]);
  await copyFile(busybox, join(root, 'bin', 'busybox'));
  const { stdout } = await run(busybox, ['--list']);
  for (const applet of stdout.trim().split('\n')) {
    if (applet !== 'busybox') await symlink('/bin/busybox', join(root, 'bin', applet));
  }
  await symlink('/bin/busybox', join(root, 'usr', 'bin', 'env'));
  await writeFile(
    join(root, 'etc/passwd'),
    'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n',
  );
  await writeFile(join(root, 'etc/group'), 'root:x:0:\nnobody:x:65534:\n');
  await writeFile(join(root, 'etc/nsswitch.conf'), 'hosts: files dns\n');
}
