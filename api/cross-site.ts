import type { IncomingMessage } from 'node:http';

/**
 * Whether a browser sends this for a page of another site. Only browsers set these headers, and pages cannot: no token of ours is
 * needed in forms, and programs notice nothing. Browsers too old for Sec-Fetch-Site send Origin with whatever can change something.
 */
export function isCrossSite({ headers }: IncomingMessage): boolean {
  const site = headers['sec-fetch-site'];
  if (site !== undefined) return site !== 'same-origin' && site !== 'none';
  const { origin, host } = headers;
  if (origin === undefined) return false;
  return !URL.canParse(origin) || new URL(origin).host !== host;
}
