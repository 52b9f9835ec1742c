import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { clientBehind } from '../../domain/network/trusted-proxies.ts';
import { type Host, hostName, isLoopback, parseHost, parseOrigin } from '../../domain/network/web-address.ts';
import type { ApiSettings } from '../settings.ts';

/** The sender of a request or an upgrade, as far as its headers can be believed. */
export interface Caller {
  /** The address of the client: the direct peer, or the one that a trusted proxy names. */
  address: string;
  /**
   * Whether the direct peer is a trusted proxy. Its connection then belongs to no single client.
   */
  isProxied: boolean;
  /** Whether the browser uses https, by a trusted proxy or by PUBLIC_URL for the requested name. */
  secure: boolean;
  /**
   * Whether the requested host name is ours. Any page can make its own name resolve to us (DNS
   * rebinding).
   */
  hostIsKnown: boolean;
  /** The origin of the page that sends this. Programs send none. */
  origin: 'NONE' | 'ALLOWED' | 'FOREIGN';
  /**
   * Whether a browser sends this for another site without naming its origin, as it does for images,
   * scripts and links.
   */
  isUnnamedForeign: boolean;
}

type WebSettings = Pick<ApiSettings, 'host' | 'publicUrl' | 'allowedOrigins' | 'trustProxy'>;

/**
 * Reads the headers of a request. Only browsers send Origin and Sec-Fetch-Site, and pages cannot
 * set them, so programs are unaffected.
 */
export function callerOf(request: IncomingMessage, settings: WebSettings): Caller {
  const { headers, socket } = request;
  const peer = socket.remoteAddress ?? 'unknown';
  const client = clientBehind(settings.trustProxy ?? 0, peer, String(headers['x-forwarded-for'] ?? ''));
  // Set by the first proxy, which the browser talks to.
  const [scheme = ''] = String(headers['x-forwarded-proto'] ?? '').split(',');
  const host = hostOf(request);
  const isProxied = client !== undefined;
  const isPublic = host !== undefined && host.name === publicName(settings);
  const isOwn = host !== undefined && isOwnName(host, request, settings);
  const secure =
    (isProxied && scheme.trim().toLowerCase() === 'https') ||
    (isPublic && settings.publicUrl?.startsWith('https:') === true);
  const site = headers['sec-fetch-site'];
  return {
    address: client ?? peer,
    isProxied,
    secure,
    hostIsKnown: isPublic || isOwn || isRewritten(request, isProxied, settings),
    origin: judgeOrigin(request, isOwn ? host : undefined, secure, settings),
    isUnnamedForeign: headers.origin === undefined && site !== undefined && site !== 'same-origin' && site !== 'none',
  };
}

/** Whether the peer of a connection is a trusted proxy. */
export function isProxy({ remoteAddress = 'unknown' }: Socket, { trustProxy = 0 }: WebSettings): boolean {
  return clientBehind(trustProxy, remoteAddress, '') !== undefined;
}

/** The Host header. Undefined unless there is exactly one. */
function hostOf({ headersDistinct }: IncomingMessage): Host | undefined {
  const [text, ...more] = headersDistinct.host ?? [];
  return text === undefined || more.length > 0 ? undefined : parseHost(text);
}

/**
 * Whether a request for PUBLIC_URL has another host name, because a proxy has put its own there. A
 * page at PUBLIC_URL names that as its origin, which no other page can. Browsers name no origin
 * when they open a page: then a proxy in a trusted network vouches for the name. At worst, a page
 * of another name reads what everybody may, because browsers send it no cookie of ours.
 */
function isRewritten(
  { headers }: IncomingMessage,
  isProxied: boolean,
  { publicUrl, trustProxy }: WebSettings,
): boolean {
  if (publicUrl === undefined) return false;
  if (headers.origin === undefined) return isProxied && typeof trustProxy === 'object';
  return parseOrigin(headers.origin) === publicUrl;
}

function publicName({ publicUrl }: WebSettings): string | undefined {
  return publicUrl === undefined ? undefined : parseHost(new URL(publicUrl).host)?.name;
}

/**
 * Names that reach us regardless of DNS: loopback, the address that we listen on, and the one that
 * was called.
 */
function isOwnName({ name }: Host, { socket }: IncomingMessage, { host }: WebSettings): boolean {
  return isLoopback(name) || name === hostName(host) || name === hostName(socket.localAddress ?? '');
}

/** Judges the Origin header. `host` is the requested host, if that is a name of ours. */
function judgeOrigin(
  { headers, socket }: IncomingMessage,
  host: Host | undefined,
  secure: boolean,
  { publicUrl, allowedOrigins = [] }: WebSettings,
): Caller['origin'] {
  if (headers.origin === undefined) return 'NONE';
  const origin = parseOrigin(headers.origin);
  if (origin === undefined) return 'FOREIGN'; // "null" among them
  if (origin === publicUrl || allowedOrigins.includes(origin)) return 'ALLOWED';
  if (host === undefined) return 'FOREIGN';
  const own = parseOrigin(`${secure ? 'https' : 'http'}://${host.name}:${host.port}`);
  const siblings = isLoopback(host.name) ? LOOPBACK_NAMES.map((name) => `http://${name}:${socket.localPort}`) : [];
  return origin === own || siblings.includes(origin) ? 'ALLOWED' : 'FOREIGN';
}

/**
 * A page opened under one of these names at our port may use the others. Another port belongs to
 * another program.
 */
const LOOPBACK_NAMES = ['localhost', '127.0.0.1', '[::1]'];
