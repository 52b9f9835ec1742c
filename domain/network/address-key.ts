import { embeddedIPv4, parseAddress } from './networks.ts';

/**
 * The key under which a client's address is counted. Use it wherever a bound holds per address
 * (tries, connections, streams). A client with one IPv6 address has the 2^64 addresses of its /64,
 * so they count as one. An IPv6 address that carries an IPv4 address counts as that. Every text
 * that is no address counts as "unknown", so that a strange text never gives a new key.
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
