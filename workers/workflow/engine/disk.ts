import { access, statfs } from 'node:fs/promises';
import type { Logger } from 'pino';
import { startRepeating } from '../../../platform/async/repeat.ts';
import type { Docker } from '../../../platform/docker/docker.ts';
import { isEngineError } from '../../../platform/docker/errors.ts';

/** When a disk was full, by the clock of its machine. */
export interface Period {
  from: Date;
  to: Date;
}

/**
 * Watches the disk of an engine on this machine. While it is full, the engine drops what containers
 * print, and says so only in its own log: what it gives later looks whole.
 */
export interface EngineDisk {
  /** When the disk was full since that time: the first such time and the last one. */
  fullSince(time: Date): Period | undefined;
  close(): Promise<void>;
}

const LOOK_MS = 500;
/**
 * A disk with less than this counts as full: printing can fill it between two looks, and ext4 keeps
 * up to 16 MiB for itself.
 */
const FULL_BYTES = 32 * 1024 * 1024;
const PERIODS_MAX = 100;
/** In a container on the engine, the root folder is on the engine's disk. */
const CONTAINER_MARK = '/.dockerenv';

export function watchDisk({
  docker,
  log,
  fullBytes = FULL_BYTES,
}: {
  docker: Docker;
  log: Logger;
  fullBytes?: number | undefined;
}): EngineDisk {
  const periods: Period[] = []; // the oldest first
  let open: Period | undefined;
  let lookedAt = new Date();

  async function look(): Promise<void> {
    const free = await freeBytes(docker);
    const now = new Date();
    if (free !== undefined && free < fullBytes) {
      if (open === undefined) {
        log.warn(
          { freeBytes: free },
          'The disk of the Docker engine is full: lines that containers print may be lost.',
        );
        open = { from: lookedAt, to: now };
        periods.push(open);
        if (periods.length > PERIODS_MAX) periods.shift();
      }
      open.to = now;
    } else if (open !== undefined) {
      open.to = now;
      open = undefined;
      log.info('The disk of the Docker engine has room again.');
    }
    lookedAt = now;
  }

  const close = startRepeating({ everyMs: LOOK_MS, log, what: 'Looking at the disk of the Docker engine' }, look);
  return {
    fullSince(time) {
      const since = periods.filter(({ to }) => to >= time);
      const [first, last] = [since[0], since.at(-1)];
      return first && last && { from: first.from, to: last.to };
    },
    close,
  };
}

/** The free bytes on the engine's disk. Undefined if this process cannot see it. */
async function freeBytes(docker: Docker): Promise<number | undefined> {
  try {
    const folder = await docker.localDataFolder();
    if (folder === undefined) return undefined;
    const seen = (await isThere(folder)) ? folder : (await isThere(CONTAINER_MARK)) ? '/' : undefined;
    if (seen === undefined) return undefined;
    const { bfree, bsize } = await statfs(seen);
    return bfree * bsize;
  } catch (error) {
    if (isEngineError(error)) return undefined; // it is away, and writes nothing
    throw error;
  }
}

async function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
