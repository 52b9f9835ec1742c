/**
 * PostgreSQL from the npm package that embedded PostgreSQL uses too: the same version everywhere,
 * nothing to install.
 */
import { chmod, chown, cp, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import connect from 'postgres';
import { findBinaries } from '../../platform/postgres/binaries.ts';
import type { Part } from './parts.ts';
import { identify, run } from './process.ts';
import { makeOutsideDir, outsideDir, type State, servicesDir } from './state.ts';

const USER = 'chronoverse';
const DATABASE = 'chronoverse';
const MAX_CONNECTIONS = 300; // tests run many processes, each with a pool

export const postgres: Part = {
  name: 'postgres',
  title: 'PostgreSQL',
  needs: [],

  async prepare(state) {
    const owner = await findOwner();
    const binaries = await findReadableBinaries(owner !== undefined);
    const dataDir = join(await findDataRoot(owner !== undefined), 'postgres');
    if (!(await exists(join(dataDir, 'PG_VERSION')))) await initialize(state, binaries, dataDir, owner);
    await removeStalePid(dataDir);
    const settings = [
      'listen_addresses=127.0.0.1',
      'unix_socket_directories=',
      `max_connections=${MAX_CONNECTIONS}`,
      'shared_buffers=256MB',
    ];
    return {
      command: join(binaries, 'bin', 'postgres'),
      args: ['-D', dataDir, '-p', String(state.ports.postgres), ...settings.flatMap((setting) => ['-c', setting])],
      ...owner,
    };
  },

  async probe(state) {
    await query(state, 'postgres', async (sql) => sql`select 1`);
  },

  async finish(state) {
    await query(state, 'postgres', async (sql) => {
      const found = await sql`select 1 from pg_database where datname = ${DATABASE}`;
      if (found.length === 0) await sql`create database ${sql(DATABASE)}`;
    });
    return undefined;
  },

  setting(state) {
    return ['DATABASE_URL', url(state, DATABASE)];
  },
};

function url(state: State, database: string): string {
  return `postgres://${USER}:${state.passwords.postgres}@127.0.0.1:${state.ports.postgres}/${database}`;
}

async function query<T>(state: State, database: string, work: (sql: connect.Sql) => Promise<T>): Promise<T> {
  const sql = connect(url(state, database), { max: 1, connect_timeout: 3, onnotice: () => {} });
  try {
    return await work(sql);
  } finally {
    await sql.end({ timeout: 1 });
  }
}

interface Owner {
  uid: number;
  gid: number;
}

/**
 * The user that runs PostgreSQL, which refuses to run as root: Debian's `postgres`, or else
 * `nobody`. Undefined if this process is not root.
 */
async function findOwner(): Promise<Owner | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const users = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'));
  const user = users.find(([name]) => name === 'postgres') ?? users.find(([name]) => name === 'nobody');
  if (!user)
    throw new Error('PostgreSQL refuses to run as root, and there is no user postgres or nobody to run it as.');
  return { uid: Number(user[2]), gid: Number(user[3]) };
}

/**
 * The folder of the binaries, readable for another user. If they are in a private folder, such as a
 * home folder of root, it is a copy.
 */
async function findReadableBinaries(asOther: boolean): Promise<string> {
  const installed = dirname(dirname((await findBinaries()).postgres));
  if (!asOther || (await isOpen(installed))) return installed;
  const copy = join(await findDataRoot(true), 'postgres-binaries');
  if (!(await exists(join(copy, 'complete')))) {
    await rm(copy, { recursive: true, force: true });
    await cp(installed, copy, { recursive: true, verbatimSymlinks: true });
    await writeFile(join(copy, 'complete'), '');
  }
  return copy;
}

async function findDataRoot(asOther: boolean): Promise<string> {
  if (!asOther || (await isOpen(servicesDir))) return servicesDir;
  await makeOutsideDir();
  return outsideDir;
}

/** Whether other users can enter every folder of the path. */
async function isOpen(path: string): Promise<boolean> {
  for (let dir = path; ; dir = dirname(dir)) {
    if (((await stat(dir)).mode & 0o001) === 0) return false;
    if (dir === dirname(dir)) return true;
  }
}

async function initialize(state: State, binaries: string, dataDir: string, owner: Owner | undefined): Promise<void> {
  await rm(dataDir, { recursive: true, force: true }); // the leftovers of an interrupted initdb
  await mkdir(dataDir, { mode: 0o700 });
  const passwordFile = `${dataDir}-password`;
  await writeFile(passwordFile, state.passwords.postgres, { mode: 0o600 });
  if (owner) for (const path of [dataDir, passwordFile]) await chown(path, owner.uid, owner.gid);
  const args = ['-D', dataDir, '-U', USER, '-A', 'scram-sha-256', '--pwfile', passwordFile];
  try {
    await run(join(binaries, 'bin', 'initdb'), [...args, '-E', 'UTF8', '--locale=C', '--no-instructions'], {
      ...owner,
      cwd: '/',
    });
    await chmod(dataDir, 0o700);
  } finally {
    await rm(passwordFile, { force: true });
  }
}

/**
 * After a kill -9, the pid in the file may belong to another process by now, and PostgreSQL would
 * wait for that process to end.
 */
async function removeStalePid(dataDir: string): Promise<void> {
  const pidFile = join(dataDir, 'postmaster.pid');
  const pid = Number((await readFile(pidFile, 'utf8').catch(() => '')).split('\n')[0]);
  if (!pid) return;
  const found = await identify(pid);
  if (!found?.command.includes(dataDir)) await rm(pidFile, { force: true });
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
