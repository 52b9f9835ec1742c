import { randomBytes } from 'node:crypto';
import { copyFile, mkdir, readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import postgres from 'postgres';
import { afterEach, describe, expect, inject, test } from 'vitest';
import { z } from 'zod';
import { withDatabase } from '../support/global-setup.ts';
import { ask, cleanUp, type Running, startProcess, tempFolder } from '../support/processes.ts';
import { untilSlow } from '../support/time.ts';
import { WITHOUT_ENGINE } from './support.ts';

afterEach(cleanUp);

const SIGN_UP = 'mutation { signUp(input: {email: "ann@example.com", password: "correct horse"}) { token } }';
const SIGN_IN = 'mutation { signIn(input: {email: "ann@example.com", password: "correct horse"}) { token } }';
const CREATE = `mutation { createWorkflow(input: {name: "Kept", interval: 60, maxConsecutiveJobFailuresAllowed: 3,
  payload: {heartbeat: {}}}) { workflow { id } } }`;
const CREATE_PUSH = `mutation { createWorkflow(input: {name: "Pinged", interval: 60, maxConsecutiveJobFailuresAllowed: 3,
  payload: {heartbeat: {push: {postOnly: true}}}}) { workflow { id } } }`;
const STATE = `{ workflows(first: 5) { nodes { id name payload pingUrl jobs(first: 5) { nodes { id status logLineCount logs(first: 5) { nodes { number text } } } } } }
  notifications { nodes { id kind } } analytics { completedJobCount logLineCount workflowCount } }`;

const up = (dir: string, env: Record<string, string> = {}) =>
  startProcess(['up'], { ...WITHOUT_ENGINE, PORT: '0', DATA_DIR: dir, ...env });

async function tokenOf(url: string, mutation: string): Promise<string> {
  const [answer] = Object.values(await ask(url, mutation));
  return z.object({ token: z.string() }).parse(answer).token;
}

async function run(args: string[], env: Record<string, string>) {
  const process = startProcess(args, env);
  const { code } = await process.exit();
  return { code, output: process.output() };
}

/** A server with a completed job, and what a caller sees of it. */
async function serverWithJob(server: Running) {
  const url = await server.ready();
  const token = await tokenOf(url, SIGN_UP);
  await ask(url, CREATE, { token });
  await ask(url, CREATE_PUSH, { token });
  const state = () => ask(url, STATE, { token });
  await untilSlow('the job and its lines', async () => /"COMPLETED".*"number":1/.test(JSON.stringify(await state())));
  await untilSlow('the totals', async () => JSON.stringify(await state()).includes('"completedJobCount":1'));
  return { url, token, state: await state() };
}

describe('chronoverse backup and restore', () => {
  test('bring everything of an embedded database to another folder, from a running server', async () => {
    const [from, to] = [await tempFolder(), await tempFolder()];
    const server = up(from);
    const { state } = await serverWithJob(server);
    const file = join(from, 'a.backup');
    const backup = await run(['backup', file], { DATA_DIR: from });
    expect(backup, backup.output).toMatchObject({ code: 0 });
    expect(backup.output).toContain(`Keep a copy of ${join(from, 'secret.key')} in another place.`);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    // No draft is left.
    expect(await readdir(from)).not.toContainEqual(expect.stringMatching(/^\..*backup/));
    const key = await readFile(join(from, 'secret.key'), 'utf8');
    expect(gunzipSync(await readFile(file)).includes(key.trim())).toBe(false);
    await server.kill('SIGTERM');

    const again = await run(['backup', file], { DATA_DIR: from }); // stopped now
    expect(again).toMatchObject({ code: 2, output: expect.stringContaining('exists already') });
    expect(await run(['backup', `${file}.2`], { DATA_DIR: from })).toMatchObject({ code: 0 });

    const restore = await run(['restore', `${file}.2`], { DATA_DIR: to });
    expect(restore, restore.output).toMatchObject({ code: 0 });
    expect(await up(to).exit()).toMatchObject({ code: 2 }); // without the key
    await writeFile(join(to, 'secret.key'), 'no key');
    const refused = up(to);
    expect(await refused.exit()).toMatchObject({ code: 2 });
    expect(refused.output()).toContain(`${join(to, 'secret.key')} holds no key: put back the right one`);
    await writeFile(join(to, 'secret.key'), `${key.trim()}\n`); // as an editor or echo writes it
    const restored = up(to);
    const url = await restored.ready();
    expect(await ask(url, STATE, { token: await tokenOf(url, SIGN_IN) })).toEqual(state);
    // Sequences go on, partitions take lines.
    await ask(url, CREATE, { token: await tokenOf(url, SIGN_IN) });
    await untilSlow('a new job', async () =>
      JSON.stringify(await ask(url, STATE, { token: await tokenOf(url, SIGN_IN) })).includes('"completedJobCount":2'),
    );
    await restored.kill('SIGTERM');
    const full = await run(['restore', file], { DATA_DIR: to });
    expect(full).toMatchObject({ code: 2, output: expect.stringContaining('The database is not empty') });
  });

  test('say in a sentence what is wrong with the name of a file', async () => {
    const folder = await tempFolder();
    const data = join(folder, 'data');
    const server = up(data);
    await server.ready();
    await writeFile(join(folder, 'file'), '');
    const names = { 'file/x': 'its folder is a file', 'no/x': 'its folder does not exist', file: 'exists already' };
    for (const [name, why] of Object.entries({ ...names, ['x'.repeat(300)]: 'its name is too long' })) {
      const { code, output } = await run(['backup', join(folder, name)], { DATA_DIR: data });
      expect([code, output]).toEqual([2, expect.stringMatching(new RegExp(`^[^{]*${why}`))]);
    }
    await server.kill('SIGTERM');
    const restore = await run(['restore', folder], { DATA_DIR: join(folder, 'new') });
    expect(restore).toMatchObject({ code: 2, output: `${folder} cannot be read: name the file of a backup.\n` });
    await expect(stat(join(folder, 'new'))).rejects.toThrow('ENOENT');
  });

  test('bring it from an embedded database to a real one, and a damaged or foreign file changes nothing', async () => {
    const name = `cvtest_${randomBytes(8).toString('hex')}`;
    const admin = postgres(inject('adminUrl'), { max: 1, onnotice: () => undefined });
    await admin.unsafe(`CREATE DATABASE ${name}`);
    try {
      const from = await tempFolder();
      const server = up(from);
      const { state } = await serverWithJob(server);
      await server.kill('SIGTERM');
      const file = join(from, 'a.backup');
      expect(await run(['backup', file], { DATA_DIR: from })).toMatchObject({ code: 0 });
      const real = { DATABASE_URL: withDatabase(inject('adminUrl'), name) };
      const bad = join(from, 'bad');
      await mkdir(bad);
      const content = gunzipSync(await readFile(file));
      const header = content.subarray(0, content.indexOf('\n') + 1).toString();
      const files: Record<string, Buffer> = {
        text: Buffer.from('hello'),
        empty: Buffer.alloc(0),
        gzip: gzipSync('hello\n'),
        newer: gzipSync(header.replace(/"version":\d+/, '"version":9999')),
        'cut-rows': gzipSync(content.subarray(0, content.length - 30)),
        'bad-line': gzipSync(`${header}hello\n`),
        'bad-row': gzipSync(`${header}{"table":"users","columns":["id"]}\nhello\n\\.\nend of backup\n`),
        column: gzipSync(`${header}{"table":"users","columns":["id) FROM STDIN; --"]}\n\\.\nend of backup\n`),
      };
      for (const [kind, text] of Object.entries(files)) await writeFile(join(bad, kind), text);
      await copyFile(file, join(bad, 'cut-file'));
      await truncate(join(bad, 'cut-file'), (await stat(file)).size - 100);
      for (const kind of [...Object.keys(files), 'cut-file', 'missing']) {
        const refused = await run(['restore', join(bad, kind)], real);
        expect([kind, refused.code, refused.output]).toEqual([kind, 2, expect.not.stringMatching(/^ {4}at /m)]);
      }
      const restore = await run(['restore', file], real);
      expect(restore, restore.output).toMatchObject({ code: 0 });
      const restored = up(await tempFolder(), {
        ...real,
        SECRET_KEY: (await readFile(join(from, 'secret.key'), 'utf8')).trim(),
      });
      const url = await restored.ready();
      expect(await ask(url, STATE, { token: await tokenOf(url, SIGN_IN) })).toEqual(state);
      await restored.kill('SIGTERM');
    } finally {
      await admin.unsafe(`DROP DATABASE ${name} WITH (FORCE)`);
      await admin.end({ timeout: 5 });
    }
  });
});
