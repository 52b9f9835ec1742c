import { parseAddress } from './networks.ts';
import { parseHost } from './web-address.ts';

/** A TCP service: a name or an address, IPv6 without brackets, and a port. */
export interface HostAndPort {
  host: string;
  port: number;
}

/** Reads "host:port", "192.0.2.1:53" or "[2001:db8::1]:443". Undefined for anything else. */
export function parseHostAndPort(text: string): HostAndPort | undefined {
  const { name = '', port = '' } = parseHost(text) ?? {};
  if (name === '' || Number(port) === 0) return undefined;
  return { host: name.replace(/^\[|\]$/g, ''), port: Number(port) };
}

/**
 * Reads "192.0.2.1", "192.0.2.1:53", "2001:db8::1" or "[2001:db8::1]:53". Undefined for anything
 * else.
 */
export function parseAddressAndPort(text: string, defaultPort: number): HostAndPort | undefined {
  const isAddress = (host: string) => parseAddress(host) !== undefined && !host.includes('%');
  if (isAddress(text)) return { host: text, port: defaultPort };
  const [, six, four = '', port] = /^(?:\[([^\]]+)\]|([\d.]+))(?::(\d{1,5}))?$/.exec(text) ?? [];
  const at = { host: six ?? four, port: Number(port ?? defaultPort) };
  return isAddress(at.host) && at.port >= 1 && at.port <= 65_535 ? at : undefined;
}

/** As it is written in a URL. */
export function shownHostAndPort({ host, port }: HostAndPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
