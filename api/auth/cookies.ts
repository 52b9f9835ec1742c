import type { IncomingMessage } from 'node:http';
import { SESSION_DAYS } from '../settings.ts';

/** The token that a request or a connection_init carries: '' where it carries something that cannot be one. */
export function bearerToken(authorization: unknown): string | undefined {
  if (authorization === undefined || authorization === null) return undefined;
  if (typeof authorization !== 'string') return ''; // in a connection_init it may be anything that JSON can say
  return /^Bearer +(\S+)$/i.exec(authorization)?.[1] ?? '';
}

/** The token of the cookie by the one name that fits the connection: what plain http could have planted is not taken over https. */
export function sessionCookie({ headers }: IncomingMessage, secure: boolean): string | undefined {
  for (const pair of headers.cookie?.split(';') ?? []) {
    const [name, value] = pair.trim().split('=', 2);
    if (name === cookieName(secure) && value !== undefined) return value;
  }
  return undefined;
}

/** The Set-Cookie header that gives a browser its session, or takes it away. */
export function setCookie(token: string | undefined, { secure }: { secure: boolean }): string {
  const seconds = token === undefined ? 0 : SESSION_DAYS * 86_400;
  const cookie = `${cookieName(secure)}=${token ?? ''}; Path=/; Max-Age=${seconds}; HttpOnly; SameSite=Lax`;
  return secure ? `${cookie}; Secure` : cookie;
}

const COOKIE = 'chronoverse_session';

/** A browser takes a cookie with this prefix only over https, for this host alone and all of its paths. */
function cookieName(secure: boolean): string {
  return secure ? `__Host-${COOKIE}` : COOKIE;
}
