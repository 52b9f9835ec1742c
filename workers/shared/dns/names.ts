import { createNameServers, isAnswered, type Queries } from './name-servers.ts';
import { readSystemNames, type SystemNames } from './system-names.ts';

/**
 * Turns names into addresses: first by the hosts file, then by the name servers of resolv.conf,
 * through c-ares. It does not use getaddrinfo (dns.lookup), which may take two of the four threads
 * that it shares with files and crypto. Dead name servers of one user's endpoints would then delay
 * the checks of every user (1,000 names of 0.5 s each: 250 s that way, under 1 s this way). The
 * price is that sources which only the C library knows, such as mDNS, do not work.
 */
export interface Names {
  /**
   * Resolves to every address of `name`, IPv6 first. Rejects with a NameFault. `atEnd` receives a
   * function that ends the wait early.
   */
  resolve(name: string, atEnd: (cancel: () => void) => void): Promise<string[]>;
  /**
   * Whether the name servers answer nothing at all: then the fault is ours. The answer is reliable
   * two seconds after a query.
   */
  areSilent(): boolean;
}

/** `code` comes from c-ares: ENOTFOUND, ENODATA, ESERVFAIL, ETIMEOUT, ECONNREFUSED ... */
export class NameFault extends Error {
  readonly code: string;
  constructor(code: string) {
    super(`The name could not be resolved (${code}).`);
    this.code = code;
  }
}

export interface NamesOptions {
  hostsFile?: string;
  resolvFile?: string;
  /** Name servers (address:port) instead of those of resolv.conf. */
  servers?: string[];
}

const FILES_FRESH_MS = 5_000;
const PROBE_AFTER_MS = 1_000;
const NAME_LENGTH_MAX = 253;

export function createNames(options: NamesOptions = {}): Names {
  const servers = createNameServers(options.servers);
  const system = createSystemNames(options);

  async function resolve(name: string, atEnd: (cancel: () => void) => void): Promise<string[]> {
    const files = await system.read();
    const bare = name.toLowerCase().replace(/\.$/, '');
    const known = files.hosts.get(bare);
    if (known !== undefined) return sixFirst(known);
    // RFC 6761: these names are loopback addresses.
    if (bare === 'localhost' || bare.endsWith('.localhost')) return ['::1', '127.0.0.1'];
    if (bare === '' || bare.length > NAME_LENGTH_MAX) throw new NameFault('EBADNAME');

    const probe = setTimeout(servers.probe, PROBE_AFTER_MS);
    const queries = servers.open();
    atEnd(queries.cancel);
    try {
      return await firstResolved(candidates(name, files), queries);
    } finally {
      clearTimeout(probe);
      queries.cancel(); // ends the query of the slower family
    }
  }

  return { resolve, areSilent: servers.areSilent };
}

async function firstResolved(names: string[], queries: Queries): Promise<string[]> {
  const codes: string[] = [];
  for (const name of names) {
    const answers = await queries.addresses(name);
    const addresses = answers.flatMap((answer) => answer.values);
    if (addresses.length > 0) return sixFirst(addresses);
    codes.push(...answers.map((answer) => answer.code));
    if (!codes.every(isAnswered)) break;
  }
  const telling = codes.find((code) => !isAnswered(code)) ?? codes.find((code) => code !== 'ENOTFOUND');
  throw new NameFault(telling ?? 'ENOTFOUND');
}

/**
 * The names to try in turn. The search list of resolv.conf applies, because container networks rely
 * on it.
 */
function candidates(name: string, { search, dots }: SystemNames): string[] {
  if (name.endsWith('.')) return [name];
  const longer = search.map((domain) => `${name}.${domain}`);
  return name.split('.').length > dots ? [name, ...longer] : [...longer, name];
}

function sixFirst(addresses: string[]): string[] {
  return addresses.toSorted((a, b) => Number(b.includes(':')) - Number(a.includes(':')));
}

/** The machine's files, read again when the last reading is older than FILES_FRESH_MS. */
function createSystemNames({ hostsFile, resolvFile }: NamesOptions) {
  const paths = { hostsFile: hostsFile ?? '/etc/hosts', resolvFile: resolvFile ?? '/etc/resolv.conf' };
  let known: Promise<SystemNames> | undefined;
  let readAt = 0;

  async function refresh(before: Promise<SystemNames> | undefined): Promise<SystemNames> {
    return readSystemNames(paths, await before);
  }
  return {
    read(): Promise<SystemNames> {
      if (known === undefined || performance.now() - readAt > FILES_FRESH_MS) {
        readAt = performance.now();
        known = refresh(known);
      }
      return known;
    },
  };
}
