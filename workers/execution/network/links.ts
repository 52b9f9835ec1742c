import { networkInterfaces } from 'node:os';
import type { IPv4, IPv6 } from 'ipaddr.js';
import { onTheWire, parseAddress } from '../../../domain/network/networks.ts';

/** A network on one of this machine's own links, with its broadcast address. */
interface Link {
  address: IPv4 | IPv6;
  prefix: number;
}

const LINKS_FRESH_MS = 2_000;
/** By the library's names. The first is on a link by definition, and no host has the others. */
const ON_ANY_LINK = ['linkLocal'];
const NO_HOST = ['multicast', 'broadcast', 'unspecified'];

let known: { links: Link[]; at: number } | undefined;

/**
 * Whether packets for `address` leave this machine and its own links, and so take a gateway. It
 * goes by the networks of the interfaces that are up and have a carrier.
 */
export function isBeyondLinks(address: string): boolean {
  const target = canonical(address);
  if (target === undefined || [...ON_ANY_LINK, ...NO_HOST].includes(target.range())) return false;
  return !links().some((link) => holds(link, target));
}

/**
 * Whether a host can have this address: no multicast or broadcast, and no link-local one without
 * its link.
 */
export function isOfHost(address: string): boolean {
  const target = canonical(address);
  if (target === undefined || NO_HOST.includes(target.range())) return false;
  if (target.kind() === 'ipv6') return !ON_ANY_LINK.includes(target.range());
  return !links().some((link) => holds(link, target) && isBroadcast(link, target));
}

function canonical(address: string): IPv4 | IPv6 | undefined {
  const parsed = parseAddress(address);
  return parsed && onTheWire(parsed);
}

function links(): Link[] {
  const now = performance.now();
  if (known === undefined || now - known.at > LINKS_FRESH_MS)
    known = { links: readLinks() ?? known?.links ?? [], at: now };
  return known.links;
}

/** Undefined when no file descriptor is left to ask the kernel. */
function readLinks(): Link[] | undefined {
  let interfaces: ReturnType<typeof networkInterfaces>;
  try {
    interfaces = networkInterfaces();
  } catch {
    return undefined;
  }
  return Object.values(interfaces).flatMap((addresses = []) =>
    addresses.flatMap(({ address: text, cidr }): Link[] => {
      const address = parseAddress(text);
      const prefix = Number(cidr?.split('/')[1] ?? Number.NaN);
      return address === undefined || Number.isNaN(prefix) ? [] : [{ address, prefix }];
    }),
  );
}

function holds({ address, prefix }: Link, target: IPv4 | IPv6): boolean {
  return address.kind() === target.kind() && target.match([address, prefix]);
}

function isBroadcast({ prefix }: Link, target: IPv4 | IPv6): boolean {
  const bits = target
    .toByteArray()
    .map((byte) => byte.toString(2).padStart(8, '0'))
    .join('');
  return prefix < 31 && !bits.slice(prefix).includes('0');
}
