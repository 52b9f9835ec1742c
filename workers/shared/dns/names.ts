import type { DnsRecordType } from '../../../domain/payload/heartbeat-schema.ts';
import { type Answer, createNameServers, isAnswered, isDefinite, type Queries } from './name-servers.ts';
import type { ServerHealth } from './root-question.ts';
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
  resolve(name: string, atEnd: AtEnd): Promise<string[]>;
  /** The same, with the name that has the addresses. */
  find(name: string, atEnd: AtEnd): Promise<Found>;
  /**
   * Asks exactly this, without the hosts file and search domains. Rejects with a NameFault. Without
   * a type, the found `addresses` are those, otherwise they are the records.
   */
  ask(question: Question, atEnd: AtEnd): Promise<Found>;
  /**
   * Whether any name server works now, after a resolution that began at `since`
   * (performance.now()) failed: see NameServers.
   */
  health(since: number): Promise<ServerHealth>;
  /** Whether a resolution had no time to reach a server that answers: see NameServers. */
  isLate(since: number): Promise<boolean>;
}

export interface Found {
  addresses: string[];
  /** The name that has the addresses: longer than the one asked for if a search domain matched. */
  name: string;
  /** The other family's answer, when it is late. It never rejects, and `atEnd` cancels it. */
  late?: Promise<Answer> | undefined;
}

export interface Question {
  name: string;
  /** Default: both types of addresses. */
  type?: DnsRecordType | undefined;
  /** address:port of another name server than those of this machine. */
  server?: string | undefined;
}

type AtEnd = (cancel: () => void) => void;

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
const NAME_LENGTH_MAX = 253;

export function createNames(options: NamesOptions = {}): Names {
  const servers = createNameServers(options.servers);
  const system = createSystemNames(options);

  async function find(name: string, atEnd: AtEnd): Promise<Found> {
    const files = await system.read();
    const bare = name.toLowerCase().replace(/\.$/, '');
    const known = files.hosts.get(bare);
    if (known !== undefined) return { addresses: sixFirst(known), name };
    // RFC 6761: these names are loopback addresses.
    if (bare === 'localhost' || bare.endsWith('.localhost')) {
      return { addresses: ['::1', '127.0.0.1'], name };
    }
    if (bare === '' || bare.length > NAME_LENGTH_MAX) throw new NameFault('EBADNAME');

    const queries = servers.open();
    atEnd(queries.cancel);
    return firstResolved(name, candidates(name, files), queries);
  }

  /** Without the addresses of a family whose answer is late. */
  async function resolve(name: string, atEnd: AtEnd): Promise<string[]> {
    const cancels: (() => void)[] = [];
    const { addresses } = await find(name, (cancel) => {
      cancels.push(cancel);
      atEnd(cancel);
    });
    for (const cancel of cancels) cancel();
    return addresses;
  }

  async function ask({ name, type, server }: Question, atEnd: AtEnd): Promise<Found> {
    const queries = (server === undefined ? servers : createNameServers([server])).open();
    atEnd(queries.cancel);
    if (type === undefined) return firstResolved(name, [name], queries);
    const { values, code } = await queries.records(name, type);
    if (values.length === 0) throw new NameFault(code);
    return { addresses: values, name };
  }

  return { ask, find, resolve, health: servers.health, isLate: servers.isLate };
}

async function firstResolved(asked: string, names: string[], queries: Queries): Promise<Found> {
  const codes: string[] = [];
  for (const name of names) {
    const { answers, late } = await queries.addresses(name);
    const addresses = answers.flatMap((answer) => answer.values);
    if (addresses.length > 0) return { addresses: sixFirst(addresses), name, late };
    const now = answers.map((answer) => answer.code);
    codes.push(...now);
    if (!now.every(isAnswered)) break;
    // While nobody knows whether the name itself exists, a longer one would answer for it wrongly.
    if (name === asked && !now.every(isDefinite)) break;
  }
  throw new NameFault(mostTelling(codes));
}

/** No answer tells more than a failing server, and that more than a name that has no address. */
function mostTelling(codes: string[]): string {
  const telling = (holds: (code: string) => boolean) => codes.find(holds);
  return (
    telling((code) => !isAnswered(code)) ??
    telling((code) => !isDefinite(code)) ??
    telling((code) => code !== 'ENOTFOUND') ??
    'ENOTFOUND'
  );
}

/**
 * The names to try in turn. The search list of resolv.conf applies, because container networks rely
 * on it.
 */
function candidates(name: string, { search, dots }: SystemNames): string[] {
  if (name.endsWith('.')) return [name];
  const longer = search.map((domain) => `${name}.${domain}`).filter(({ length }) => length <= NAME_LENGTH_MAX);
  return name.split('.').length > dots ? [name, ...longer] : [...longer, name];
}

/** Each once: an address that comes twice would be tried twice. */
function sixFirst(addresses: string[]): string[] {
  return [...new Set(addresses)].sort((a, b) => Number(b.includes(':')) - Number(a.includes(':')));
}

/** The machine's files, read again when the last reading is older than FILES_FRESH_MS. */
function createSystemNames({ hostsFile, resolvFile }: NamesOptions) {
  const paths = { hostsFile: hostsFile ?? '/etc/hosts', resolvFile: resolvFile ?? '/etc/resolv.conf' };
  let known: Promise<SystemNames> | undefined;
  let readAt = 0;

  async function refresh(before: Promise<SystemNames> | undefined): Promise<SystemNames> {
    const last = await before?.catch(() => undefined);
    return readSystemNames(paths, last).catch((error) => {
      if (last === undefined) throw error;
      return last; // no file descriptor is left: what was read before still holds
    });
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
