import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { areAllowed, authorityOf, type RegistryPolicy } from '../../../domain/images/registry-allow.ts';
import { isAllowed, parseAllow } from '../../../domain/network/networks.ts';
import { isAnswered } from '../../shared/dns/name-servers.ts';
import { NameFault, type Names } from '../../shared/dns/names.ts';
import { notAllowed, notReachable } from './refusal.ts';

export interface Visit {
  method?: 'GET' | 'HEAD';
  accept?: string;
  /** An Authorization header: sent only where nobody on the way can read it, and to no other host. */
  authorization?: string | undefined;
  /** How much of the body is wanted; none unless given. */
  bytesMax?: number;
}

export interface Visited {
  status: number;
  /** After redirects. */
  url: URL;
  header(name: string): string | undefined;
  /** Each value of WWW-Authenticate. */
  challenges: string[];
  body: string;
}

const REDIRECTS_MAX = 5;
const HEADER_BYTES_MAX = 16 * 1024;

/** Asks registries on behalf of one image, at addresses that the policy allows and at no others. */
export interface Visitor {
  /** Rejects with `notAllowed` where it, or a redirect, leads to where the engine may not go. */
  visit(url: URL, request?: Visit): Promise<Visited>;
  /** The same judgement without asking. The addresses to connect to. */
  judge(url: URL): Promise<string[]>;
  /** False once an answer came that a person on the way may have written: without TLS from another host, or with a certificate that did not hold. */
  isVerified(): boolean;
}

export function createVisitor({
  registry,
  policy,
  names,
  userAgent,
  signal,
}: {
  /** As the image names it, for what is said of it. */
  registry: string;
  policy: RegistryPolicy;
  names: Names;
  /** The engine's own: a registry that answers one in another way than the other is to find less to go by. */
  userAgent: string;
  signal: AbortSignal;
}): Visitor {
  const judged = new Map<string, Promise<string[]>>();
  let isVerified = true;

  function judge(url: URL): Promise<string[]> {
    const known = judged.get(url.host) ?? addressesOf(url);
    if (judged.size < HOSTS_MAX) judged.set(url.host, known);
    return known;
  }

  async function addressesOf(url: URL): Promise<string[]> {
    const host = url.hostname.replace(/^\[|\]$/g, '');
    const addresses = net.isIP(host) === 0 ? await resolve(host) : [host];
    if (policy.names.has(authorityOf(url.host) ?? '') || areAllowed(policy, addresses)) return addresses;
    throw notAllowed(registry);
  }

  async function resolve(host: string): Promise<string[]> {
    const cancels: (() => void)[] = [];
    const cancel = () => {
      for (const one of cancels) one();
    };
    signal.addEventListener('abort', cancel);
    try {
      return await names.resolve(host, (one) => cancels.push(one));
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof NameFault)) throw error;
      throw isAnswered(error.code) ? notAllowed(registry, error) : notReachable(registry, error);
    } finally {
      signal.removeEventListener('abort', cancel);
    }
  }

  async function visit(url: URL, request: Visit = {}): Promise<Visited> {
    let at = url;
    for (let redirects = 0; redirects <= REDIRECTS_MAX; redirects += 1) {
      const authorization = at.origin === url.origin ? request.authorization : undefined;
      const visited = await ask(at, { ...request, authorization });
      const location = visited.status >= 300 && visited.status < 400 ? visited.header('location') : undefined;
      if (location === undefined) return visited;
      at = placeOf(location, at) ?? refuse();
    }
    throw notReachable(registry, new Error('It redirects without end.'));
  }

  async function ask(url: URL, request: Visit): Promise<Visited> {
    const addresses = await judge(url);
    try {
      return await exchange(url, addresses, request, true);
    } catch (error) {
      signal.throwIfAborted();
      if (!isOfCertificate(error)) throw notReachable(registry, error);
    }
    try {
      // The engine may know an authority that this process does not: what it would be told is heard without showing anything.
      return await exchange(url, addresses, { ...request, authorization: undefined }, false);
    } catch (error) {
      signal.throwIfAborted();
      throw notReachable(registry, error);
    }
  }

  function exchange(url: URL, addresses: string[], request: Visit, verifies: boolean): Promise<Visited> {
    const { method = 'GET', accept = '*/*', authorization, bytesMax = 0 } = request;
    const isSecret = url.protocol === 'https:' || addresses.every((address) => isAllowed(LOOPBACK, address));
    return new Promise((resolve, reject) => {
      const client = url.protocol === 'https:' ? https : http;
      const sent = client.request({
        host: url.hostname.replace(/^\[|\]$/g, ''),
        ...(url.port === '' ? {} : { port: url.port }),
        path: `${url.pathname}${url.search}`,
        method,
        headers: {
          host: url.host,
          accept,
          'user-agent': userAgent,
          ...(authorization !== undefined && isSecret ? { authorization } : {}),
        },
        agent: false,
        maxHeaderSize: HEADER_BYTES_MAX,
        rejectUnauthorized: verifies,
        lookup: pinnedTo(addresses),
        signal,
      });
      sent.on('error', reject);
      sent.on('upgrade', (_, socket) => socket.destroy(new Error('It answers with another protocol.')));
      sent.on('response', (message) => {
        if (!verifies || !isSecret) isVerified = false;
        bodyOf(message, bytesMax).then(
          (body) => resolve(toVisited(url, message, body)),
          (error: unknown) => reject(error),
        );
      });
      sent.end();
    });
  }

  function refuse(): never {
    throw notAllowed(registry);
  }

  return { visit, judge, isVerified: () => isVerified };
}

const HOSTS_MAX = 100;
const LOOPBACK = loopback();

function loopback() {
  const policy = parseAllow('loopback');
  if (typeof policy === 'string') throw new Error(policy);
  return policy;
}

/**
 * Where a registry sends the engine to. Undefined of what is no plain http or https URL: where two parsers might read two hosts (white
 * space, letters beyond ASCII, backslashes, a user name), the engine's may be the other one.
 */
export function placeOf(text: string, base?: URL): URL | undefined {
  if (!/^[!-[\]-~]*$/.test(text) || !URL.canParse(text, base?.href)) return undefined;
  const url = new URL(text, base?.href);
  const isPlain = url.username === '' && url.password === '' && !/^[a-z][a-z0-9+.-]*:\/*[^/]*@/i.test(text);
  return isPlain && /^https?:$/.test(url.protocol) && url.hostname !== '' ? url : undefined;
}

/** A name is connected to by the very addresses that were judged. */
function pinnedTo(addresses: string[]): net.LookupFunction {
  return (_, { all }, callback) => {
    const found = addresses.map((address) => ({ address, family: net.isIP(address) }));
    const first = found[0];
    if (all) callback(null, found);
    else if (first !== undefined) callback(null, first.address, first.family);
  };
}

/** As much of it as is wanted, and the connection is closed. */
async function bodyOf(message: IncomingMessage, bytesMax: number): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  if (bytesMax > 0) {
    for await (const part of message) {
      bytes += part.length;
      if (bytes > bytesMax) throw new Error(`Its answer has more than ${bytesMax} bytes.`);
      parts.push(part);
    }
  }
  message.destroy();
  return Buffer.concat(parts).toString();
}

function toVisited(url: URL, message: IncomingMessage, body: string): Visited {
  const raw = message.rawHeaders;
  return {
    status: message.statusCode ?? 0,
    url,
    header: (name) => {
      const value = message.headers[name];
      return typeof value === 'string' ? value : value?.[0];
    },
    challenges: raw.flatMap((name, index) =>
      index % 2 === 0 && name.toLowerCase() === 'www-authenticate' ? (raw[index + 1] ?? []) : [],
    ),
    body,
  };
}

/** Node's codes for a certificate that it does not trust. */
function isOfCertificate(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return /^(CERT_|ERR_TLS_CERT|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_)/.test(code);
}
