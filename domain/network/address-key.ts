import { embeddedIPv4, parseAddress } from './networks.ts';

/**
 * The key under which a client's address is counted. Use it wherever something is bounded per address (tries, connections, streams). A client
 * with one IPv6 address has the 2^64 of its /64, so those count as one. An IPv6 address that carries an IPv4 one counts as that. What is no
 * address is "unknown", all of it together, so that nobody gets a new key from a strange text.
 */
export function addressKey(address: string | undefined): string {
  const parsed = address === undefined ? undefined : parseAddress(address);
  if (parsed === undefined) return UNKNOWN;
  const { family, bits } = embeddedIPv4(parsed) ?? parsed;
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => (bits >> shift) & 0xffn).join('.');
  return `${[112n, 96n, 80n, 64n].map((shift) => ((bits >> shift) & 0xffffn).toString(16)).join(':')}::/64`;
}

const UNKNOWN = 'unknown';
