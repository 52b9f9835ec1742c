import { embeddedIPv4, parseAddress } from './networks.ts';

/**
 * The key under which a client's address is counted. Use it wherever something is bounded per
 * address (tries, connections, streams). A client with one IPv6 address has the 2^64 of its /64, so
 * those count as one. An IPv6 address that carries an IPv4 one counts as that. What is no address
 * is "unknown", all of it together, so that nobody gets a new key from a strange text.
 */
export function addressKey(address: string | undefined): string {
  const parsed = address === undefined ? undefined : parseAddress(address);
  if (parsed === undefined) return UNKNOWN;
  const counted = embeddedIPv4(parsed) ?? parsed;
  if (counted.kind() === 'ipv4') return counted.toString();
  const groups = Array.from({ length: 4 }, (_, n) => counted.toByteArray().slice(2 * n, 2 * n + 2));
  return `${groups.map(([high = 0, low = 0]) => (high * 256 + low).toString(16)).join(':')}::/64`;
}

const UNKNOWN = 'unknown';
