import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { clientBehind } from '../../domain/network/trusted-proxies.ts';
import { type Host, hostName, isLoopback, parseHost, parseOrigin } from '../../domain/network/web-address.ts';
import type { ApiSettings } from '../settings.ts';

/** What the headers of a request or an upgrade say of who sends it, as far as they are believed. */
export interface Caller {
  /** Of the client: the direct peer, or what a trusted proxy says. */
  address: string;
  /** Whether the direct peer is a trusted proxy, so that its connection is no client's. */
  isProxied: boolean;
  /** Whether the browser speaks https: a trusted proxy says so, or PUBLIC_URL does of the name that is asked for. */
  secure: boolean;
  /** Whether the name that is asked for is ours. A page can make any name of its own lead here (DNS rebinding). */
  hostIsKnown: boolean;
  /** Of the page that sends this. Programs have none. */
  origin: 'NONE' | 'ALLOWED' | 'FOREIGN';
  /** Whether a browser sends this for another site and does not name its origin, as it does for images, scripts and links. */
  isUnnamedForeign: boolean;
}

type WebSettings = Pick<ApiSettings, 'host' | 'publicUrl' | 'allowedOrigins' | 'trustProxy'>;

/** Only browsers send Origin and Sec-Fetch-Site, and no page can set them: programs notice nothing of either. */
export function callerOf(request: IncomingMessage, settings: WebSettings): Caller {
  const { headers, socket } = request;
  const peer = socket.remoteAddress ?? 'unknown';
  const client = clientBehind(settings.trustProxy ?? 0, peer, String(headers['x-forwarded-for'] ?? ''));
  const [scheme = ''] = String(headers['x-forwarded-proto'] ?? '').split(','); // of the first proxy, which the browser spoke to
  const host = hostOf(request);
  const isPublic = host !== undefined && host.name === publicName(settings);
  const isOwn = host !== undefined && isOwnName(host, request, settings);
  const secure =
    (client !== undefined && scheme.trim().toLowerCase() === 'https') ||
    (isPublic && settings.publicUrl?.startsWith('https:') === true);
  const site = headers['sec-fetch-site'];
  return {
    address: client ?? peer,
    isProxied: client !== undefined,
    secure,
    hostIsKnown: isPublic || isOwn,
    origin: judgeOrigin(request, isOwn ? host : undefined, secure, settings),
    isUnnamedForeign: headers.origin === undefined && site !== undefined && site !== 'same-origin' && site !== 'none',
  };
}

/** Whether what is at the other end of a connection is a trusted proxy. */
export function isProxy({ remoteAddress = 'unknown' }: Socket, { trustProxy = 0 }: WebSettings): boolean {
  return clientBehind(trustProxy, remoteAddress, '') !== undefined;
}

/** Undefined where there is none, or not exactly one. */
function hostOf({ headersDistinct }: IncomingMessage): Host | undefined {
  const [text, ...more] = headersDistinct.host ?? [];
  return text === undefined || more.length > 0 ? undefined : parseHost(text);
}

function publicName({ publicUrl }: WebSettings): string | undefined {
  return publicUrl === undefined ? undefined : parseHost(new URL(publicUrl).host)?.name;
}

/** Names that lead here whatever any DNS says: loopback, the address that is listened on, the one that was called. */
function isOwnName({ name }: Host, { socket }: IncomingMessage, { host }: WebSettings): boolean {
  return isLoopback(name) || name === hostName(host) || name === hostName(socket.localAddress ?? '');
}

/** `host`: what was asked for, where that is an own name. */
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

/** A page that was opened under one of them at our own port may use the others. Another port of this machine is another's page. */
const LOOPBACK_NAMES = ['localhost', '127.0.0.1', '[::1]'];
