import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { USER } from './embedded.ts';

/** Lines of postmaster.pid, as PostgreSQL's documentation numbers them. */
const PORT_LINE = 4;
const STATUS_LINE = 8;

/**
 * The URL of the server that another of our processes has started on `folder`. Undefined if none is
 * ready. This opens nothing new: a program that can read the password file could connect anyway.
 */
export async function runningPostgres(folder: string, passwordFile: string): Promise<string | undefined> {
  const [state, password] = await Promise.all([readIfThere(join(folder, 'postmaster.pid')), readIfThere(passwordFile)]);
  const lines = state?.split('\n').map((line) => line.trim()) ?? [];
  const port = Number(lines[PORT_LINE - 1]);
  if (!password || !(port > 0) || lines[STATUS_LINE - 1] !== 'ready') return undefined;
  return `postgres://${USER}:${encodeURIComponent(password)}@127.0.0.1:${port}/postgres`;
}

async function readIfThere(path: string): Promise<string | undefined> {
  // It is not there yet, or another user's. Either way the server cannot be reached.
  return readFile(path, 'utf8').catch(() => undefined);
}
