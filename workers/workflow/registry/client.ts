import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { areAllowed, authorityOf, type RegistryPolicy } from '../../../domain/images/registry-allow.ts';
import { isAllowed, parseAllow } from '../../../domain/network/networks.ts';
import { readUrl } from '../../../domain/network/read-url.ts';
import { isAnswered } from '../../shared/dns/name-servers.ts';
import { NameFault, type Names } from '../../shared/dns/names.ts';
import { neverReachable, notAllowed, notReachable } from './errors.ts';

export interface RegistryRequest {
  method?: 'GET' | 'HEAD';
  accept?: string;
  /**
   * An Authorization header. It is sent only where nobody on the way can read it, and to no other
   * host.
   */
  authorization?: string | undefined;
  /** The most bytes of the body to read. Default: none. */
  bytesMax?: number;
}

export interface RegistryAnswer {
  status: number;
  /** The URL after redirects. */
  url: URL;
  header(name: string): string | undefined;
  /** Each value of WWW-Authenticate. */
  challenges: string[];
  body: string;
  /** How long the registry asks to wait (Retry-After). */
  retryAfterSeconds: number | undefined;
}

const REDIRECTS_MAX = 5;
const HEADER_BYTES_MAX = 16 * 1024;

/** Contacts registries for one image, only at addresses that the policy allows. */
export interface RegistryClient {
  /**
   * Rejects with `notAllowed` when the URL or a redirect leads to a place that is forbidden to the
   * engine.
   */
  get(url: URL, request?: RegistryRequest): Promise<RegistryAnswer>;
  /** The same check without a request. Resolves with the addresses to connect to. */
  check(url: URL): Promise<string[]>;
  /**
   * False once somebody on the way may have written an answer: without TLS from another host, or
   * with an invalid certificate.
   */
  isVerified(): boolean;
}

export function createRegistryClient({
  registry,
  policy,
  names,
  userAgent,
  signal,
}: {
  /** As the image names it, for messages. */
  registry: string;
  policy: RegistryPolicy;
  names: Names;
  /** The engine's own, so that a registry cannot tell this request from the engine's. */
  userAgent: string;
  signal: AbortSignal;
}): RegistryClient {
  const checked = new Map<string, Promise<string[]>>();
  let isVerified = true;

  function check(url: URL): Promise<string[]> {
    const known = checked.get(url.host) ?? addressesOf(url);
    if (checked.size < HOSTS_MAX) checked.set(url.host, known);
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
      const isRefused = isAnswered(error.code) && !RESOLVER_OUTAGES.includes(error.code);
      throw isRefused ? notAllowed(registry, error) : notReachable(registry, error);
    } finally {
      signal.removeEventListener('abort', cancel);
    }
  }

  async function get(url: URL, request: RegistryRequest = {}): Promise<RegistryAnswer> {
    let at = url;
    for (let redirects = 0; redirects <= REDIRECTS_MAX; redirects += 1) {
      const authorization = at.origin === url.origin ? request.authorization : undefined;
      const answer = await ask(at, { ...request, authorization });
      const location = answer.status >= 300 && answer.status < 400 ? answer.header('location') : undefined;
      if (location === undefined) return answer;
      at = redirectTarget(location, at) ?? refuse();
    }
    throw neverReachable(registry, new Error('It redirects without end.'));
  }

  async function ask(url: URL, request: RegistryRequest): Promise<RegistryAnswer> {
    const addresses = await check(url);
    try {
      return await exchange(url, addresses, request, true);
    } catch (error) {
      signal.throwIfAborted();
      if (!isOfCertificate(error)) throw failed(error);
    }
    try {
      // The engine may know an authority that this process does not. So ask again, and send no
      // login.
      return await exchange(url, addresses, { ...request, authorization: undefined }, false);
    } catch (error) {
      signal.throwIfAborted();
      throw failed(error);
    }
  }

  function failed(error: unknown): unknown {
    return error instanceof TooLong ? neverReachable(registry, error) : notReachable(registry, error);
  }

  function exchange(
    url: URL,
    addresses: string[],
    request: RegistryRequest,
    verifies: boolean,
  ): Promise<RegistryAnswer> {
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
          (body) => resolve(toAnswer(url, message, body)),
          (error: unknown) => reject(error),
        );
      });
      sent.end();
    });
  }

  function refuse(): never {
    throw notAllowed(registry);
  }

  return { get, check, isVerified: () => isVerified };
}

const HOSTS_MAX = 100;
/** A name server that answers so knows nothing about the name. */
const RESOLVER_OUTAGES = ['ESERVFAIL', 'EREFUSED'];
const LOOPBACK = loopback();

function loopback() {
  const policy = parseAllow('loopback');
  if (typeof policy === 'string') throw new Error(policy);
  return policy;
}

/**
 * Where a registry redirects the engine. Undefined unless it is a plain http or https URL: with
 * white space, letters beyond ASCII, backslashes or a user name, two parsers may read two hosts.
 */
export function redirectTarget(text: string, base?: URL): URL | undefined {
  if (!/^[!-[\]-~]*$/.test(text) || readUrl(text, base?.href) === undefined) return undefined;
  const url = new URL(text, base?.href);
  const isPlain = url.username === '' && url.password === '' && !/^[a-z][a-z0-9+.-]*:\/*[^/]*@/i.test(text);
  return isPlain && /^https?:$/.test(url.protocol) && url.hostname !== '' ? url : undefined;
}

/** Connects to exactly the addresses that were checked. */
function pinnedTo(addresses: string[]): net.LookupFunction {
  return (_, { all }, callback) => {
    const found = addresses.map((address) => ({ address, family: net.isIP(address) }));
    const first = found[0];
    if (all) callback(null, found);
    else if (first !== undefined) callback(null, first.address, first.family);
  };
}

class TooLong extends Error {}

/** Reads at most `bytesMax` bytes, and closes the connection. */
async function bodyOf(message: IncomingMessage, bytesMax: number): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  if (bytesMax > 0) {
    for await (const part of message) {
      bytes += part.length;
      if (bytes > bytesMax) throw new TooLong(`Its answer has more than ${bytesMax} bytes.`);
      parts.push(part);
    }
  }
  message.destroy();
  return Buffer.concat(parts).toString();
}

function toAnswer(url: URL, message: IncomingMessage, body: string): RegistryAnswer {
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
    retryAfterSeconds: retryAfter(message.headers['retry-after']),
  };
}

/** A number of seconds, or a date. */
function retryAfter(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const asked = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1_000;
  return asked > 0 ? asked : undefined; // NaN for anything else
}

/** Node's codes for a certificate that it does not trust. */
function isOfCertificate(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return /^(CERT_|ERR_TLS_CERT|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_)/.test(code);
}
