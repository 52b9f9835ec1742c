import { readdir, readFile } from 'node:fs/promises';
import { PACKAGE_FOLDER } from '../../platform/package-folder.ts';

const MIGRATIONS = new URL('db/migrations/', PACKAGE_FOLDER);

/** The parts are in the order of the file. */
export interface Migration {
  version: number;
  name: string;
  parts: Part[];
}

/**
 * - A `part` is a transaction.
 * - `steps` is one statement that runs repeatedly, each time in a transaction. It walks a table by
 *   a uuid key: `$2` rows after the key `$1`. It returns the last key as `position`, or no row at
 *   the end.
 * - An `index` is one CREATE INDEX CONCURRENTLY IF NOT EXISTS, outside a transaction.
 */
export interface Part {
  kind: 'part' | 'steps' | 'index';
  /** Completes the sentence "The migration ...". */
  does: string;
  text: string;
}

/** Every migration that this program knows, by version, without gaps. */
export async function readMigrations(): Promise<Migration[]> {
  const names = (await readdir(MIGRATIONS)).filter((name) => name.endsWith('.sql')).sort();
  return Promise.all(
    names.map(async (name, index) => {
      const version = Number.parseInt(name, 10);
      if (version !== index + 1) throw new Error(`db/migrations/${name} should have the number ${index + 1}.`);
      const text = await readFile(new URL(name, MIGRATIONS), 'utf8');
      return { version, name: name.slice(0, -'.sql'.length), parts: readParts(name, text) };
    }),
  );
}

/**
 * The parts of a file. A line like `-- steps: counts the jobs` begins each part. A file without
 * such lines is one part.
 */
function readParts(name: string, text: string): Part[] {
  const [header = '', ...rest] = text.split(/^-- (part|steps|index): (.+)\n/m);
  if (rest.length === 0) return [{ kind: 'part', does: 'changes the schema', text }];
  if (/^(?!--)\S/m.test(header)) throw new Error(`db/migrations/${name} has SQL above its first part.`);
  const parts: Part[] = [];
  for (let i = 0; i < rest.length; i += 3) {
    const [kind, does = '', text = ''] = rest.slice(i, i + 3);
    if (kind !== 'part' && kind !== 'steps' && kind !== 'index')
      throw new Error(`There is no part of the kind ${kind}.`);
    parts.push({ kind, does, text });
  }
  return parts;
}

/** The name of the index that an `index` part creates. */
export function indexOf({ text }: Part): string {
  const [, name] = /^CREATE (?:UNIQUE )?INDEX CONCURRENTLY IF NOT EXISTS (\w+) /m.exec(text) ?? [];
  if (name === undefined)
    throw new Error(`An index is made by CREATE INDEX CONCURRENTLY IF NOT EXISTS, not by: ${text}`);
  return name;
}
