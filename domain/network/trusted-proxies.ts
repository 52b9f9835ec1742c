import { isAllowed, type NetworkPolicy, parseAddress, parseAllow } from './networks.ts';

/**
 * The proxies whose X-Forwarded headers are believed: this many in a row, whatever their addresses,
 * or all proxies in these networks.
 */
export type TrustedProxies = number | NetworkPolicy;

/** The parsed setting TRUST_PROXY, or a sentence that says what is wrong with it. */
export function parseTrustedProxies(text: string): TrustedProxies | string {
  if (text === 'false') return 0;
  if (text === 'true') return 1;
  if (/^\d+$/.test(text)) {
    return Number(text) <= HOPS_MAX ? Number(text) : `At most ${HOPS_MAX} proxies can stand in a row.`;
  }
  const policy = parseAllow(text);
  if (typeof policy === 'string') return policy;
  if (policy.words.has('public')) return 'Everybody is "public": name the networks of your proxies.';
  return policy;
}

/**
 * The address of the client, from the address of the direct peer and X-Forwarded-For. Each proxy
 * appends the address that called it. So entries are believed from the right, as long as a trusted
 * proxy wrote them. Undefined when the direct peer is not a trusted proxy.
 */
export function clientBehind(trust: TrustedProxies, peer: string, forwardedFor: string): string | undefined {
  const isTrusted = (address: string, hops: number) =>
    typeof trust === 'number' ? hops < trust : isAllowed(trust, address);
  if (!isTrusted(peer, 0)) return undefined;
  let client = peer;
  for (const [hops, entry] of forwardedFor.split(',').reverse().entries()) {
    const address = addressIn(entry.trim());
    if (address === undefined || !isTrusted(client, hops)) break;
    client = address;
  }
  return client;
}

const HOPS_MAX = 10;

/** The address in an entry. Some proxies add a port, and then put an IPv6 address in brackets. */
function addressIn(entry: string): string | undefined {
  const address = /^\[([^\]]+)\](?::\d+)?$/.exec(entry)?.[1] ?? /^([\d.]+):\d+$/.exec(entry)?.[1] ?? entry;
  return parseAddress(address) ? address : undefined;
}
