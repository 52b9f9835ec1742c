import { readFile, stat } from 'node:fs/promises';
import net from 'node:net';

/** What this machine's own files say about names. */
export interface SystemNames {
  hosts: ReadonlyMap<string, string[]>;
  /**
   * The domains to append to a name. They come before the name itself when it has fewer dots than
   * `dots`, otherwise after it.
   */
  search: string[];
  dots: number;
  /** Changes when the files change. */
  version: string;
}

// A hosts file that blocks advertisers reaches a few MiB.
const FILE_BYTES_MAX = 16 * 1024 * 1024;
const SEARCH_MAX = 6; // each domain costs a query; glibc once had the same limit
const NO_NAMES: SystemNames = { hosts: new Map(), search: [], dots: 1, version: 'none' };

/**
 * Reads the files again if they have changed since `known`. A file that is missing, not readable
 * or too large counts as empty. Rejects when this process cannot read any file now: taken for
 * empty, a hosts file would make its names unknown.
 */
export async function readSystemNames(
  files: { hostsFile: string; resolvFile: string },
  known: SystemNames = NO_NAMES,
): Promise<SystemNames> {
  const version = `${await versionOf(files.hostsFile)} ${await versionOf(files.resolvFile)}`;
  if (version === known.version) return known;
  const resolv = await textOf(files.resolvFile);
  return { hosts: parseHosts(await textOf(files.hostsFile)), ...parseResolv(resolv), version };
}

function parseHosts(text: string): Map<string, string[]> {
  const hosts = new Map<string, string[]>();
  for (const [address = '', ...names] of words(text)) {
    if (net.isIP(address) === 0) continue;
    for (const name of names.map((name) => name.toLowerCase().replace(/\.$/, ''))) {
      hosts.set(name, [...(hosts.get(name) ?? []), address]);
    }
  }
  return hosts;
}

function parseResolv(text: string): { search: string[]; dots: number } {
  const lines = words(text);
  const [, ...named] = lines.findLast(([key]) => key === 'search' || key === 'domain') ?? [];
  // "search ." is how some systems write that there is none.
  const search = named.map((domain) => domain.replace(/^\.+|\.+$/g, '')).filter((domain) => domain !== '');
  const options = lines.filter(([key]) => key === 'options').flat();
  const dots = options.findLast((option) => option.startsWith('ndots:'))?.slice('ndots:'.length);
  return { search: search.slice(0, SEARCH_MAX), dots: /^\d+$/.test(dots ?? '') ? Number(dots) : 1 };
}

function words(text: string): string[][] {
  const lines = text.split('\n').map((line) => line.replace(/[#;].*$/, '').trim());
  return lines.filter((line) => line !== '').map((line) => line.split(/\s+/));
}

async function versionOf(file: string): Promise<string> {
  try {
    const { mtimeMs, size, ino } = await stat(file);
    return size > FILE_BYTES_MAX ? 'too large' : `${ino}:${mtimeMs}:${size}`;
  } catch (error) {
    throwIfExhausted(error);
    return 'missing';
  }
}

async function textOf(file: string): Promise<string> {
  try {
    return (await stat(file)).size > FILE_BYTES_MAX ? '' : await readFile(file, 'utf8');
  } catch (error) {
    throwIfExhausted(error);
    return ''; // missing, as versionOf reports too
  }
}

const EXHAUSTED = new Set<unknown>(['EMFILE', 'ENFILE', 'ENOMEM']);

function throwIfExhausted(error: unknown): void {
  if (error instanceof Error && 'code' in error && EXHAUSTED.has(error.code)) throw error;
}
