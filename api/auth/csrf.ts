import type { IncomingMessage } from 'node:http';
import { shortened } from '../errors.ts';
import type { Caller } from './caller.ts';
import { bearerToken } from './cookies.ts';

/** Why a request or an upgrade is not served, regardless of what it asks for. */
export interface WebRefusal {
  status: 403 | 421;
  message: string;
}

/** Refuses pages of other sites, even with a session or a token. */
export function foreignPage({ headers }: IncomingMessage, { origin }: Caller): WebRefusal | undefined {
  if (origin !== 'FOREIGN') return undefined;
  const page = JSON.stringify(shortened(headers.origin ?? ''));
  return {
    status: 403,
    message: `Pages of ${page} may not use this API. An operator allows an origin by the setting ALLOWED_ORIGINS or, where it is the address of this API itself, by PUBLIC_URL.`,
  };
}

/** Refuses what a page of another site makes a browser fetch, by an image or a link. */
export function embedded({ isUnnamedForeign }: Caller): WebRefusal | undefined {
  if (!isUnnamedForeign) return undefined;
  return { status: 403, message: 'Pages of other sites may not make a browser send this.' };
}

/**
 * Refuses requests under an unknown host name, unless they carry a token, which no page can have.
 */
export function unknownName(request: IncomingMessage, { hostIsKnown }: Caller): WebRefusal | undefined {
  if (hostIsKnown || bearerToken(request.headers.authorization)) return undefined;
  const host = JSON.stringify(shortened(request.headers.host ?? ''));
  return {
    status: 421,
    message: `This server does not serve the host name ${host}. An operator sets PUBLIC_URL to the address that browsers use, for example PUBLIC_URL=https://chronoverse.example.com. Programs need a token under this name.`,
  };
}
