import { mkdir, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { DataDirTaken, DataDirUnusable, openDataDir } from '../../platform/data-dir.ts';
import { processIdentity } from '../../platform/process-identity.ts';
import { cleanUp, tempFolder } from '../support/processes.ts';

afterEach(cleanUp);

async function withLock(text: string): Promise<string> {
  const folder = await tempFolder();
  await writeFile(join(folder, 'lock'), text);
  return folder;
}

describe('the data folder', () => {
  test('is refused with instructions while a live process holds it', async () => {
    const holder = { pid: process.ppid, identity: await processIdentity(process.ppid) };
    const opening = openDataDir(await withLock(JSON.stringify(holder)));
    await expect(opening).rejects.toThrow(DataDirTaken);
    await expect(opening).rejects.toThrow(`is in use by the process ${process.ppid}: stop that one, or give this one`);
  });

  test('is refused with instructions if it is a file or below one', async () => {
    const file = join(await tempFolder(), 'file');
    await writeFile(file, '');
    for (const path of [file, join(file, 'below')]) {
      const opening = openDataDir(path);
      await expect(opening).rejects.toThrow(DataDirUnusable);
      await expect(opening).rejects.toThrow(/^DATA_DIR is .*: name a folder/);
    }
  });

  test('is refused with instructions if it cannot be used, whatever is in the way', async () => {
    const folder = await tempFolder();
    const link = join(folder, 'link');
    await symlink(join(folder, 'nowhere', 'below'), link);
    await mkdir(join(folder, 'locked', 'lock'), { recursive: true });
    for (const path of [link, join(folder, 'locked'), join(folder, 'x'.repeat(300))]) {
      const opening = openDataDir(path);
      await expect(opening).rejects.toThrow(DataDirUnusable);
      await expect(opening).rejects.toThrow(/^DATA_DIR is .*: name a folder/);
    }
    const dataDir = await openDataDir(join(folder, 'good'));
    await mkdir(join(dataDir.path, 'key'));
    await expect(dataDir.keep('key', () => 'text')).rejects.toThrow(DataDirUnusable);
    await dataDir.release();
  });

  test('is taken over from a process whose number now belongs to another one', async () => {
    const folder = await withLock(JSON.stringify({ pid: process.ppid, identity: 'of an earlier boot' }));
    await (await openDataDir(folder)).release();
  });

  test.each([
    ['cut short', '{"pid": 1'],
    ['empty', ''],
    ['of a process that is gone', '{"pid":4194304,"identity":"x"}'],
  ])('is taken over when its lock is %s', async (_, text) => {
    const dataDir = await openDataDir(await withLock(text));
    await dataDir.release();
    await expect(stat(join(dataDir.path, 'lock'))).rejects.toThrow('ENOENT');
  });

  test('keeps the generated values, readable only by its owner', async () => {
    const dataDir = await openDataDir(await tempFolder());
    expect(await dataDir.keep('key', () => 'first')).toBe('first');
    expect(await dataDir.keep('key', () => 'second')).toBe('first');
    expect((await stat(join(dataDir.path, 'key'))).mode & 0o777).toBe(0o600);
    await writeFile(join(dataDir.path, 'key'), 'by a person\n');
    expect(await dataDir.keep('key', () => 'third')).toBe('by a person');
    await dataDir.release();
  });
});
