import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { USER } from './embedded.ts';

/** Lines of postmaster.pid, as PostgreSQL's documentation numbers them. */
const PORT_LINE = 4;
const STATUS_LINE = 8;

/**
 * The URL of the server that another process of ours has started on `folder`, or undefined where
 * none is ready. A program that can read the file of the password could connect anyway.
 */
export async function runningPostgres(folder: string, passwordFile: string): Promise<string | undefined> {
  const [state, password] = await Promise.all([readIfThere(join(folder, 'postmaster.pid')), readIfThere(passwordFile)]);
  const lines = state?.split('\n').map((line) => line.trim()) ?? [];
  const port = Number(lines[PORT_LINE - 1]);
  if (!password || !(port > 0) || lines[STATUS_LINE - 1] !== 'ready') return undefined;
  return `postgres://${USER}:${encodeURIComponent(password)}@127.0.0.1:${port}/postgres`;
}

async function readIfThere(path: string): Promise<string | undefined> {
  // Not there yet, or another user's: not to be reached either way.
  return readFile(path, 'utf8').catch(() => undefined);
}
