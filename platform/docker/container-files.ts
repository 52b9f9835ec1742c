import { posix } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { extract, type Header, pack } from 'tar-stream';
import { z } from 'zod';
import { broken, type Engine } from './engine.ts';
import { EngineError, isContainerMissing, isEngineError } from './errors.ts';

/** A folder as a container sees it, and who owns it. */
export interface Folder {
  uid: number;
  gid: number;
  mode: number;
  /** False too if nobody looked, or if there is too much to look through. */
  isEmpty: boolean;
}

/** Files of a container that has not been started: of its image and of its volumes. */
export interface ContainerFiles {
  /**
   * The folder at `path`; LINK if a symbolic link is there, undefined if anything else or nothing.
   * Looks for content only with `looksInside` and if the folder is root's. What lies at or below
   * one of `except` is no content of it.
   */
  folderIn(
    id: string,
    path: string,
    options: { except: string[]; looksInside: boolean; signal: AbortSignal },
  ): Promise<Folder | 'LINK' | undefined>;
  /** Gives the folder to an owner, and leaves what is in it. */
  setOwner(id: string, path: string, owner: Pick<Folder, 'uid' | 'gid' | 'mode'>): Promise<void>;
  /**
   * The text of a small file, or of the one that a link there leads to. Undefined if there is none,
   * and empty for a larger one.
   */
  textIn(id: string, path: string, options: { bytesMax: number; signal: AbortSignal }): Promise<string | undefined>;
}

const HEAD_TIMEOUT_MS = 15_000;
/** The engine sends all that a folder has: no more of it is looked through. */
const LOOKED_ENTRIES_MAX = 1_000;
const LOOKED_BYTES_MAX = 16 * 1024 * 1024;
const ROOT = 0;
const { basename, dirname, join } = posix;

export function createContainerFiles(engine: Engine): ContainerFiles {
  const archiveOf = (id: string) => `/containers/${encodeURIComponent(id)}/archive`;

  /**
   * Reads the archive of `path` until `onEntry` returns a value. The entry's content is at most
   * `bytesMax` bytes; undefined if it has more.
   */
  async function read<T>(
    id: string,
    path: string,
    { bytesMax, signal }: { bytesMax: number; signal: AbortSignal },
    onEntry: (header: Header, content: Buffer | undefined) => T | undefined,
  ): Promise<T | undefined> {
    const query = { path };
    const request = { method: 'GET', path: archiveOf(id), query, headTimeoutMs: HEAD_TIMEOUT_MS, signal } as const;
    let answer: Awaited<ReturnType<Engine['open']>>;
    try {
      answer = await engine.open(request);
    } catch (error) {
      // There is no such path.
      if (isEngineError(error, 'NOT_FOUND') && !isContainerMissing(error)) return undefined;
      throw error;
    }
    const entries = extract();
    answer.on('error', (error) => entries.destroy(error));
    answer.on('aborted', () => entries.destroy(new Error('it was stopped')));
    answer.pipe(entries);
    try {
      for await (const entry of entries) {
        const { header } = entry;
        const isSmall = header.type === 'file' && (header.size ?? 0) <= bytesMax;
        const found = onEntry(header, isSmall ? await buffer(entry) : undefined);
        if (found !== undefined) return found;
        entry.resume();
      }
      return undefined;
    } catch (error) {
      throw error instanceof EngineError ? error : broken(engine.address, error);
    } finally {
      answer.destroy();
    }
  }

  return {
    async folderIn(id, path, { except, looksInside, signal }) {
      const parent = dirname(bare(path));
      const others = except.map(bare);
      let folder: Omit<Folder, 'isEmpty'> | undefined;
      let entries = 0;
      let bytes = 0;
      const end = await read(id, path, { bytesMax: 0, signal }, ({ name, type, size, pax, ...header }) => {
        if (folder === undefined) {
          if (type === 'symlink') return 'LINK';
          if (type !== 'directory') return 'NONE';
          const { uid = ROOT, gid = ROOT, mode = 0o755 } = header;
          folder = { uid, gid, mode, ...longIds.parse(pax ?? {}) };
          return looksInside && folder.uid === ROOT ? undefined : 'UNSEEN';
        }
        entries += 1;
        bytes += size ?? 0;
        if (entries > LOOKED_ENTRIES_MAX || bytes > LOOKED_BYTES_MAX) return 'UNSEEN';
        const at = bare(join(parent, name));
        return others.some((other) => isWithin(at, other) || isWithin(other, at)) ? undefined : 'CONTENT';
      });
      if (end === 'LINK') return end;
      return folder && { ...folder, isEmpty: end === undefined };
    },

    async setOwner(id, path, owner) {
      const query = { path: dirname(bare(path)) };
      const archive = await folderArchive(basename(bare(path)), owner);
      await engine.call({ method: 'PUT', path: archiveOf(id), query, archive });
    },

    async textIn(id, path, options) {
      let link: string | undefined;
      const content = await read(id, path, options, ({ type, linkname }, text) => {
        if (type === 'symlink') link = linkname ?? undefined;
        return text?.toString('utf8') ?? '';
      });
      if (link === undefined) return content;
      return read(id, posix.resolve(dirname(path), link), options, (_, text) => text?.toString('utf8') ?? '');
    },
  };
}

/** Present in the extended header where the plain one has no room for an id. */
const longIds = z.object({ uid: z.coerce.number().optional(), gid: z.coerce.number().optional() });

/**
 * An archive of one folder. The ids stand in an extended header too: the plain one has no room for
 * ids above 2097151, as some platforms give to users.
 */
export function folderArchive(name: string, owner: Pick<Folder, 'uid' | 'gid' | 'mode'>): Promise<Buffer> {
  const archive = pack();
  const bytes = buffer(archive);
  const pax = { uid: String(owner.uid), gid: String(owner.gid) };
  archive.entry({ name, type: 'directory', mtime: new Date(), ...owner, pax });
  archive.finalize();
  return bytes;
}

/** Without slashes at its end. */
function bare(path: string): string {
  return path.replace(/(?<!^)\/+$/, '');
}

function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}
