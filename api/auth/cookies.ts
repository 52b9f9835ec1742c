import type { IncomingMessage } from 'node:http';
import { SESSION_DAYS } from '../settings.ts';

/**
 * The token in an Authorization header or a connection_init. '' if there is something that cannot
 * be a token.
 */
export function bearerToken(authorization: unknown): string | undefined {
  if (authorization === undefined || authorization === null) return undefined;
  if (typeof authorization !== 'string') return ''; // a connection_init can hold any JSON value
  return /^Bearer +(\S+)$/i.exec(authorization)?.[1] ?? '';
}

/**
 * The token in the session cookie. Its name depends on the connection: a cookie that plain http
 * could have planted is not accepted over https.
 */
export function sessionCookie({ headers }: IncomingMessage, secure: boolean): string | undefined {
  for (const pair of headers.cookie?.split(';') ?? []) {
    const [name, value] = pair.trim().split('=', 2);
    if (name === cookieName(secure) && value !== undefined) return value;
  }
  return undefined;
}

/** The Set-Cookie header that sets or removes a browser's session. */
export function setCookie(token: string | undefined, { secure }: { secure: boolean }): string {
  const seconds = token === undefined ? 0 : SESSION_DAYS * 86_400;
  const cookie = `${cookieName(secure)}=${token ?? ''}; Path=/; Max-Age=${seconds}; HttpOnly; SameSite=Lax`;
  return secure ? `${cookie}; Secure` : cookie;
}

const COOKIE = 'chronoverse_session';

/**
 * A browser accepts a cookie with this prefix only over https, for this host and all of its paths.
 */
function cookieName(secure: boolean): string {
  return secure ? `__Host-${COOKIE}` : COOKIE;
}
