import { readFile } from 'node:fs/promises';
import net from 'node:net';
import { endianness } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { IPv4, IPv6 } from 'ipaddr.js';
import { onTheWire, parseAddress } from '../../../domain/network/networks.ts';

interface Route {
  network: [IPv4 | IPv6, prefix: number];
  metric: number;
  gateway: string | undefined;
  /** It is a prohibit, unreachable or blackhole route. */
  refuses: boolean;
}

/** A live gateway answers ARP within milliseconds; the kernel asks once a second. */
const ARP_WAIT_MS = 1_500;
const ARP_EVERY_MS = 100;
/** The kernel gives up on a neighbour after three seconds. */
const NEIGHBOUR_WAIT_MS = 3_500;
/** Any port does: a live gateway accepts, refuses or stays silent, and is never unreachable. */
const GATEWAY_PORT = 53;
const TABLE_BYTES_MAX = 1024 * 1024;

/**
 * The way of packets to `address`, with a gateway or directly. Undefined if there is none, or no
 * Linux that says so: /proc/net has the main table of routes.
 */
export async function routeTo(address: string): Promise<{ gateway: string | undefined } | undefined> {
  const parsed = parseAddress(address);
  if (parsed === undefined) return undefined;
  const target = onTheWire(parsed);
  const routes = target.kind() === 'ipv4' ? routesOf(await table('route')) : routes6Of(await table('ipv6_route'));
  const [best] = routes
    .filter(({ network }) => target.kind() === network[0].kind() && target.match(network))
    .sort((one, other) => other.network[1] - one.network[1] || one.metric - other.metric);
  return best === undefined || best.refuses ? undefined : { gateway: best.gateway };
}

/**
 * Whether this gateway, on our own link, has no link address: packets to it cannot leave. That is
 * for certain, where silence or an ICMP message may come from anywhere on the way. Ask after a
 * packet was sent through it.
 */
export function isDead(gateway: string): Promise<boolean> {
  return gateway.includes(':') ? isUnreachable(gateway) : staysUnresolved(gateway);
}

/** By the kernel's table: incomplete for as long as we look. */
async function staysUnresolved(gateway: string): Promise<boolean> {
  for (let waited = 0; waited < ARP_WAIT_MS; waited += ARP_EVERY_MS) {
    const rows = (await table('arp')).filter(([address]) => address === gateway);
    if (rows.length === 0 || rows.some(([, , flags]) => Number(flags) !== 0)) return false;
    await sleep(ARP_EVERY_MS);
  }
  return true;
}

/** By a connection: there is no such table of IPv6 neighbours to read. */
function isUnreachable(gateway: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ host: gateway, port: GATEWAY_PORT });
    socket.setTimeout(NEIGHBOUR_WAIT_MS, () => socket.destroy());
    socket.once('connect', () => socket.destroy());
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'EHOSTUNREACH'));
    socket.once('close', () => resolve(false));
  });
}

/**
 * Columns: Iface Destination Gateway Flags RefCnt Use Metric Mask. A blackhole has no interface.
 */
function routesOf(rows: string[][]): Route[] {
  return rows.flatMap(([device, destination = '', next = '', flags = '', , , metric, mask = '']): Route[] => {
    const network = parseAddress(dotted(destination));
    if (network === undefined) return [];
    const prefix = [...binary(mask)].filter((bit) => bit === '1').length;
    const gateway = has(RTF_GATEWAY, flags) ? dotted(next) : undefined;
    const refuses = device === '*' || has(RTF_REJECT, flags);
    return [{ network: [network, prefix], metric: Number(metric), gateway, refuses }];
  });
}

/**
 * Columns: destination, its prefix, source, its prefix, next hop, metric, references, use, flags,
 * device.
 */
function routes6Of(rows: string[][]): Route[] {
  return rows.flatMap(([destination = '', prefix, , , next = '', metric, , , flags = '', device]): Route[] => {
    const network = parseAddress(colons(destination));
    if (network === undefined) return [];
    const gateway = has(RTF_GATEWAY, flags) ? `${colons(next)}%${device}` : undefined;
    const at: Route['network'] = [network, Number.parseInt(prefix ?? '', 16)];
    return [{ network: at, metric: Number.parseInt(metric ?? '', 16), gateway, refuses: has(RTF_REJECT, flags) }];
  });
}

const RTF_GATEWAY = 0x2;
const RTF_REJECT = 0x200;

function has(flag: number, flags: string): boolean {
  return (Number.parseInt(flags, 16) & flag) !== 0;
}

/** The kernel prints an address as one number in the machine's own order of bytes. */
function dotted(hex: string): string {
  const bytes = [...Buffer.from(hex, 'hex')];
  return (endianness() === 'LE' ? bytes.reverse() : bytes).join('.');
}

function binary(hex: string): string {
  return Number.parseInt(hex, 16).toString(2);
}

function colons(hex: string): string {
  return hex.match(/.{4}/g)?.join(':') ?? '';
}

/** The rows of a table of /proc/net, without anything where there is none. */
async function table(name: 'route' | 'ipv6_route' | 'arp'): Promise<string[][]> {
  const text = await readFile(`/proc/net/${name}`, 'latin1').catch(() => '');
  const rows = text.slice(0, TABLE_BYTES_MAX).split('\n');
  return rows.map((row) => row.trim().split(/\s+/));
}
