import { readFile, stat } from 'node:fs/promises';

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
 * Reads the files again if they have changed since `known`. A file that is missing or too large
 * counts as empty.
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
    for (const name of names.map((name) => name.toLowerCase())) {
      hosts.set(name, [...(hosts.get(name) ?? []), address]);
    }
  }
  return hosts;
}

function parseResolv(text: string): { search: string[]; dots: number } {
  const lines = words(text);
  const [, ...search] = lines.findLast(([key]) => key === 'search' || key === 'domain') ?? [];
  const options = lines.filter(([key]) => key === 'options').flat();
  const dots = options.findLast((option) => option.startsWith('ndots:'))?.slice('ndots:'.length);
  return { search: search.slice(0, SEARCH_MAX), dots: Number(dots ?? 1) };
}

function words(text: string): string[][] {
  const lines = text.split('\n').map((line) => line.replace(/[#;].*$/, '').trim());
  return lines.filter((line) => line !== '').map((line) => line.split(/\s+/));
}

async function versionOf(file: string): Promise<string> {
  try {
    const { mtimeMs, size, ino } = await stat(file);
    return size > FILE_BYTES_MAX ? 'too large' : `${ino}:${mtimeMs}:${size}`;
  } catch {
    return 'missing';
  }
}

async function textOf(file: string): Promise<string> {
  try {
    return (await stat(file)).size > FILE_BYTES_MAX ? '' : await readFile(file, 'utf8');
  } catch {
    return ''; // missing, as versionOf reports too
  }
}
