import ipaddr, { type IPv4, type IPv6 } from 'ipaddr.js';

/**
 * A set of networks, ready to use: the parsed setting HEARTBEAT_ALLOW says which networks a
 * HEARTBEAT may reach.
 */
export interface NetworkPolicy {
  words: ReadonlySet<NetworkWord>;
  networks: readonly Network[];
}

export const NETWORK_WORDS = ['public', 'private', 'loopback'] as const;
export type NetworkWord = (typeof NETWORK_WORDS)[number];

/** An address, and how many of its first bits the network fixes. */
type Network = [address: Address, prefix: number];

export type Address = IPv4 | IPv6;

/**
 * The policy that `text` describes ("public,private,10.20.0.0/16"), or a sentence that says what is
 * wrong with it.
 */
export function parseAllow(text: string): NetworkPolicy | string {
  const words = new Set<NetworkWord>();
  const networks: Network[] = [];
  const entries = text.split(',').map((entry) => entry.trim().toLowerCase());
  for (const entry of entries.filter((entry) => entry !== '')) {
    const word = NETWORK_WORDS.find((word) => word === entry);
    const network = word ?? parseNetwork(entry);
    if (word !== undefined) words.add(word);
    else if (typeof network === 'string') return network;
    else networks.push(network);
  }
  if (words.size + networks.length === 0) return 'No network is named: say for example "public,private".';
  return { words, networks };
}

/**
 * Whether `policy` admits `address`, an IP address as text. If it carries an IPv4 address, that one
 * decides. An address of special use (link-local, metadata, multicast, reserved) is admitted only
 * by a network that lies within such a range. So a broad network such as 0.0.0.0/0 does not open
 * the cloud's metadata by accident. A text that is no address is never admitted.
 */
export function isAllowed(policy: NetworkPolicy, address: string): boolean {
  const parsed = parseAddress(address);
  if (parsed === undefined) return false;
  const judged = embeddedIPv4(parsed) ?? parsed;
  const kind = kindOf(judged);
  if (kind !== 'special' && policy.words.has(kind)) return true;
  return policy.networks.some(
    (network) => holds(network, judged) && (kind !== 'special' || isWithin(SPECIAL, network)),
  );
}

const PRIVATE = known('10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', 'fc00::/7');
const LOOPBACK = known('127.0.0.0/8', '::1/128');

/**
 * IANA's registries of special-purpose addresses, and the addresses outside of link-local at which
 * clouds offer their own services.
 */
const SPECIAL = known(
  '0.0.0.0/8', // this network
  '169.254.0.0/16', // link-local, and the metadata of most clouds
  '192.0.0.0/24', // protocol assignments, Oracle's metadata
  '192.0.2.0/24', // documentation, as the two below
  '198.51.100.0/24',
  '203.0.113.0/24',
  '192.88.99.0/24', // 6to4 relays
  '198.18.0.0/15', // benchmarks
  '224.0.0.0/4', // multicast
  '240.0.0.0/4', // reserved, broadcast
  '168.63.129.16/32', // Azure's wire server
  '100.100.100.200/32', // Alibaba's metadata
  '::/128', // unspecified
  '64:ff9b:1::/48', // local NAT64: each network chooses the place of the IPv4 address
  '100::/64', // discard
  '2001::/23', // protocol assignments, Teredo
  '2001:db8::/32', // documentation
  '3fff::/20',
  '5f00::/16', // segment routing
  'fd00:ec2::/32', // AWS's metadata and its neighbours
  'fd20:ce::254/128', // Google's metadata
  'fe80::/10', // link-local
  'fec0::/10', // site-local, deprecated
  'ff00::/8', // multicast
  ...['::/3', '4000::/2', '8000::/2', 'c000::/3', 'e000::/4', 'f000::/5', 'f800::/6', 'fe00::/9'], // unassigned
);
/** IPv6 networks that are a way to write an IPv4 address, with the index of its first byte. */
const EMBEDDING: [Network, number][] = [
  ...known('::/96', '::ffff:0:0/96', '::ffff:0:0:0/96', '64:ff9b::/96').map((at): [Network, number] => [at, 12]),
  ...known('2002::/16').map((at): [Network, number] => [at, 2]), // 6to4
];
const [OWN] = known('::/127'); // :: and ::1 carry no IPv4 address

function kindOf(address: Address): NetworkWord | 'special' {
  const within = (network: Network) => holds(network, address);
  if (LOOPBACK.some(within)) return 'loopback';
  if (SPECIAL.some(within)) return 'special';
  if (PRIVATE.some(within)) return 'private';
  return 'public';
}

function isWithin(ranges: Network[], [address, prefix]: Network): boolean {
  return ranges.some((range) => range[1] <= prefix && holds(range, address));
}

/** The IPv4 address that an IPv6 address carries, if it is only another way to write that. */
export function embeddedIPv4(address: Address): IPv4 | undefined {
  if (OWN === undefined || holds(OWN, address)) return undefined;
  const found = EMBEDDING.find(([network]) => holds(network, address));
  return found && new ipaddr.IPv4(address.toByteArray().slice(found[1], found[1] + 4));
}

/** The address that packets carry: ::ffff:192.0.2.1 is IPv4 there, the other ways stay IPv6. */
export function onTheWire(address: Address): Address {
  return address instanceof ipaddr.IPv6 && address.isIPv4MappedAddress() ? address.toIPv4Address() : address;
}

/** Compares the families first: the library throws where they differ. */
function holds(network: Network, address: Address): boolean {
  return network[0].kind() === address.kind() && address.match(network);
}

function known(...texts: string[]): Network[] {
  return texts.map((text) => {
    const network = readNetwork(text);
    if (network === undefined) throw new Error(`${text} is no network.`);
    return network;
  });
}

/** A network that an operator names, or a sentence that says what is wrong with it. */
function parseNetwork(text: string): Network | string {
  const network = readNetwork(text);
  if (network === undefined) {
    return `"${text}" is none of ${NETWORK_WORDS.join(', ')}, and no network such as 10.0.0.0/8 or fd00::/8.`;
  }
  const [address, prefix] = network;
  const family = address.kind() === 'ipv4' ? ipaddr.IPv4 : ipaddr.IPv6;
  if (family.networkAddressFromCIDR(`${address}/${prefix}`).toString() !== address.toString()) {
    return `"${text}" has bits set to the right of its prefix: a network such as 10.1.0.0/16 ends in zeros.`;
  }
  if (embeddedIPv4(address) !== undefined) {
    return `"${text}" stands for IPv4 addresses: name the IPv4 network itself, such as 10.0.0.0/8.`;
  }
  return network;
}

function readNetwork(text: string): Network | undefined {
  const [head = '', length, ...rest] = text.split('/');
  const address = head.includes('%') ? undefined : parseAddress(head);
  if (address === undefined || rest.length > 0) return undefined;
  const width = address.kind() === 'ipv4' ? 32 : 128;
  if (length !== undefined && (!/^\d{1,3}$/.test(length) || Number(length) > width)) return undefined;
  return [address, Number(length ?? width)];
}

/**
 * The IPv4 or IPv6 address in a text, without its zone, or undefined for anything else. It is
 * stricter than the library, which reads 0x7f.1, 017700000001 and the like as addresses, also
 * within IPv6. A resolver takes these for names, and what they resolve to decides.
 */
export function parseAddress(text: string): Address | undefined {
  if (!text.includes(':')) return isFourPartDecimal(text) ? ipaddr.IPv4.parse(text) : undefined;
  const address = text.replace(/%.*$/, '');
  const tail = address.slice(address.lastIndexOf(':') + 1);
  if (tail.includes('.') && !isFourPartDecimal(tail)) return undefined;
  return ipaddr.IPv6.isValid(address) ? ipaddr.IPv6.parse(address) : undefined;
}

function isFourPartDecimal(text: string): boolean {
  return ipaddr.IPv4.isValidFourPartDecimal(text);
}
