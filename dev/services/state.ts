/**
 * What the services remember between two commands: ports, secrets, processes. All of it is in
 * `.services/`.
 */
import { createHash, randomBytes } from 'node:crypto';
import { lstat, mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { identify, isSame, type ProcessIdentity } from './process.ts';

export const checkoutDir = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
export const servicesDir = join(checkoutDir, '.services');
/** Downloads outlive the checkout, so a second start or a second checkout need not repeat them. */
export const cacheDir = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'chronoverse');
/** Distinguishes the servers of this checkout from those of another one on the same machine. */
export const checkoutId = createHash('sha256').update(checkoutDir).digest('hex').slice(0, 8);

/**
 * Holds what `.services/` cannot: files of another user if the checkout is closed to that user, and
 * sockets if its path is too long.
 */
export const outsideDir = join('/var/tmp', `chronoverse-${checkoutId}`);

export const PART_NAMES = ['postgres', 'redis', 'kafka', 'docker'] as const;
export type PartName = (typeof PART_NAMES)[number];

export type PortName = 'postgres' | 'redis' | 'kafka' | 'kafkaController';
export interface State {
  mode: 'packages' | 'compose';
  ports: Record<PortName, number>;
  passwords: { postgres: string; redis: string };
  kafkaClusterId: string;
  processes: Partial<Record<PartName, ProcessIdentity>>;
  /** An engine that was there before us. We use it and never stop it. */
  foreignDockerHost?: string;
  bridge?: { name: string; subnet: string };
}

const stateFile = join(servicesDir, 'state.json');
const LOCK_WAIT_MS = 180_000;

export async function readState(): Promise<State | undefined> {
  try {
    return JSON.parse(await readFile(stateFile, 'utf8')) as State;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw new Error(`${stateFile} cannot be read (${String(error)}): remove .services/ and start again.`);
  }
}

/**
 * Every user may create a folder there, so a folder that is not ours could contain files of another
 * user.
 */
export async function makeOutsideDir(): Promise<void> {
  await mkdir(outsideDir, { recursive: true, mode: 0o755 });
  const found = await lstat(outsideDir);
  if (found.isDirectory() && found.uid === process.getuid?.()) return;
  throw new Error(`${outsideDir} is not ours: remove it and start again.`);
}

/** Removes all data and state, for a fresh start. */
export async function removeData(): Promise<void> {
  for (const dir of [servicesDir, outsideDir]) await rm(dir, { recursive: true, force: true });
}

let written: Promise<void> = Promise.resolve();

/**
 * Writes a new file and renames it, so that a killed command leaves either the old state or the new
 * one. Writes run one after the other.
 */
export function writeState(state: State): Promise<void> {
  written = written.then(() => replaceStateFile(state));
  return written;
}

async function replaceStateFile(state: State): Promise<void> {
  await writeFile(`${stateFile}.new`, `${JSON.stringify(state, null, 2)}\n`, { mode: 0o600 });
  await rename(`${stateFile}.new`, stateFile);
}

export async function newState(mode: State['mode']): Promise<State> {
  const [postgres, redis, kafka, kafkaController] = await freePorts(4);
  if (!postgres || !redis || !kafka || !kafkaController) throw new Error('No four free ports were found.');
  return {
    mode,
    ports: { postgres, redis, kafka, kafkaController },
    passwords: { postgres: randomBytes(18).toString('hex'), redis: randomBytes(18).toString('hex') },
    kafkaClusterId: randomBytes(16).toString('base64url'),
    processes: {},
  };
}

/**
 * Ports below the range that the system uses for outgoing connections: they stay free while their
 * servers are down. The search starts at a number that depends on the checkout, so that two
 * checkouts rarely collide.
 */
async function freePorts(count: number): Promise<number[]> {
  const found: number[] = [];
  const start = 20_000 + (Number.parseInt(checkoutId, 16) % 10_000);
  for (let port = start; found.length < count && port < start + 1_000; port += 1) {
    if (await isFree(port)) found.push(port);
  }
  return found;
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/**
 * Two `npm run services` at once would start everything twice. With the lock, the second waits and
 * then finds everything running.
 */
export async function withLock<T>(work: () => Promise<T>): Promise<T> {
  await mkdir(servicesDir, { recursive: true });
  const lockFile = join(servicesDir, 'lock');
  const deadline = Date.now() + LOCK_WAIT_MS;
  while (!(await tryLock(lockFile))) {
    if (Date.now() > deadline) throw new Error('Another `npm run services` has been at work for three minutes.');
    await sleep(250);
  }
  try {
    return await work();
  } finally {
    await rm(lockFile, { force: true });
  }
}

async function tryLock(lockFile: string): Promise<boolean> {
  try {
    const file = await open(lockFile, 'wx', 0o600);
    await file.writeFile(JSON.stringify(await identify(process.pid)));
    await file.close();
    return true;
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw error;
  }
  const holder = await readFile(lockFile, 'utf8').catch(() => '');
  // An empty file is being written, unless its writer was killed just then. The deadline covers
  // that case.
  if (holder && !(await isSame(JSON.parse(holder) as ProcessIdentity))) await rm(lockFile, { force: true });
  return false;
}

export function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

export function isMissing(error: unknown): boolean {
  return isErrno(error, 'ENOENT');
}
