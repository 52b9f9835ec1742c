import { domainToASCII } from 'node:url';
import { readUrl } from '../../../domain/network/read-url.ts';
import { CheckFailure } from './run.ts';

export const CHECK_SCHEMES = ['http:', 'https:', 'tcp:', 'dns:'] as const;
export type CheckScheme = (typeof CHECK_SCHEMES)[number];

export interface Endpoint {
  scheme: CheckScheme;
  url: URL;
}

/**
 * Payloads are validated when they are stored. A row older than a rule arrives here unchecked.
 */
export function parseEndpoint(text: string): Endpoint {
  const url = readUrl(text);
  const scheme = CHECK_SCHEMES.find((scheme) => scheme === url?.protocol);
  if (url === undefined || scheme === undefined || url.hostname === '') {
    throw new CheckFailure(`${text} is no endpoint. http(s)://, tcp://host:port or dns://name was expected.`);
  }
  return { scheme, url };
}

/** The host of `url` to connect to: IPv6 without brackets, a name in ASCII. */
export function hostOf(url: URL): string {
  const host = url.hostname.startsWith('[') ? url.hostname.slice(1, -1) : domainToASCII(decoded(url.hostname));
  if (host === '') throw new CheckFailure(`${url.hostname} is no name of a host.`);
  return host;
}

/** A name as certificates have it: without the dot that makes it absolute. */
export function withoutDot(name: string): string {
  return name.replace(/\.$/, '');
}

/**
 * A part of a URL without its percent-encoding. Schemes that the URL standard does not know keep it
 * even in their host.
 */
export function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // not an encoding
  }
}

/** `url` for logs and messages, without a user name and password. */
export function shown(url: URL): string {
  const bare = new URL(url.href);
  bare.username = '';
  bare.password = '';
  return bare.href;
}
