import { readUrl } from './read-url.ts';
/** A Host header, read as a browser reads the authority of a URL. */
export interface Host {
  /** In lower case, without a final dot; IP addresses in their canonical form, IPv6 in brackets. */
  name: string;
  /** Empty for the scheme's own port. */
  port: string;
}

/**
 * The canonical form of an origin ("https://app.example.com", "http://[::1]:3000"). Undefined when
 * `text` is not one origin over http or https: a list, "null", or one with a user, a path or a
 * query.
 */
export function parseOrigin(text: string): string | undefined {
  const [, scheme, authority] = /^(https?):\/\/(.+)$/i.exec(text) ?? [];
  const host = authority === undefined ? undefined : parseHost(authority);
  if (scheme === undefined || host === undefined) return undefined;
  // Leaves out the scheme's own port.
  return new URL(`${scheme}://${host.name}${host.port && `:${host.port}`}`).origin;
}

/**
 * The host in `text`, or undefined when `text` is not one name or address, with a port or without.
 */
export function parseHost(text: string): Host | undefined {
  const [, authority, port = ''] = /^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(\d{0,5}))?$/i.exec(text) ?? [];
  if (authority === undefined || Number(port) > PORT_MAX || readUrl(`http://${authority}`) === undefined)
    return undefined;
  // A name with one final dot is the same name, written as absolute.
  const name = new URL(`http://${authority}`).hostname.replace(/\.$/, '');
  return name === '' ? undefined : { name, port: port && String(Number(port)) };
}

/** The name under which a URL shows `address`, an IP address or a host name. */
export function hostName(address: string): string | undefined {
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, ''); // an IPv4 peer of an IPv6 socket
  return parseHost(plain.includes(':') ? `[${plain.replace(/%.*$/, '')}]` : plain)?.name;
}

/** Whether a browser takes `name` for this machine itself, without asking any DNS. */
export function isLoopback(name: string): boolean {
  return name === 'localhost' || name === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(name);
}

const PORT_MAX = 65_535;
