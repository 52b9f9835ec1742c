import type { IncomingMessage } from 'node:http';
import { SESSION_DAYS } from './settings.ts';

/** The token that a request or a connection_init carries: '' where it carries something that cannot be one. */
export function bearerToken(authorization: unknown): string | undefined {
  if (authorization === undefined || authorization === null) return undefined;
  return /^Bearer +(\S+)$/i.exec(String(authorization))?.[1] ?? '';
}

export function sessionCookie({ headers }: IncomingMessage): string | undefined {
  for (const pair of headers.cookie?.split(';') ?? []) {
    const [name, value] = pair.trim().split('=', 2);
    if (name === COOKIE && value !== undefined) return value;
  }
  return undefined;
}

/** The Set-Cookie header that gives a browser its session, or takes it away. */
export function setCookie(token: string | undefined, { secure }: { secure: boolean }): string {
  const seconds = token === undefined ? 0 : SESSION_DAYS * 86_400;
  return `${COOKIE}=${token ?? ''}; Path=/; Max-Age=${seconds}; HttpOnly; SameSite=Lax${secure ? '; Secure' : ''}`;
}

/** Where a request comes from, and whether it came encrypted: what a proxy says counts only where there is one of ours. */
export function clientOf(request: IncomingMessage, trustProxy: boolean): { address: string; secure: boolean } {
  const { socket, headers } = request;
  const forwarded = String(headers['x-forwarded-for'] ?? '')
    .split(',')
    .at(-1)
    ?.trim(); // the last one is our proxy's own word
  return {
    address: (trustProxy && forwarded) || (socket.remoteAddress ?? 'unknown'),
    secure: trustProxy && headers['x-forwarded-proto'] === 'https',
  };
}

const COOKIE = 'chronoverse_session';
