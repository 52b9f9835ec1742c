import net, { type Socket } from 'node:net';
import { isAllowed } from '../../../domain/network/networks.ts';
import { NameFault } from '../../shared/dns/names.ts';
import { CheckFailure, elapsed, type Run } from './run.ts';

export interface Connection {
  socket: Socket;
  /** address:port, written as in a URL. */
  peer: string;
}

const ADDRESSES_MAX = 8;
/** How long an address may take before the next one is tried beside it (RFC 8305's figure). */
const NEXT_ADDRESS_MS = 250;

/**
 * Connects to `host`, a name or an address. The policy decides about each address, and the socket
 * opens to exactly that address, so a name that resolves differently a moment later has no effect.
 */
export async function connect(run: Run, host: string, port: number): Promise<Connection> {
  const addresses = await addressesOf(run, host);
  const admitted = addresses.filter((address) => isAllowed(run.context.allow, address)).slice(0, ADDRESSES_MAX);
  if (admitted.length === 0) throw new CheckFailure(refusal(host, addresses));

  const started = performance.now();
  run.waitingFor = `a connection to ${admitted.map((address) => peerOf(address, port)).join(' or ')}`;
  const { socket, address } = await firstToConnect(run, admitted, port);
  const peer = peerOf(address, port);
  run.log(`Connected to ${peer} in ${elapsed(started)}.`);
  return { socket, peer };
}

/** The addresses of `host`. For a name, it logs them and the time that resolving took. */
export async function addressesOf(run: Run, host: string): Promise<string[]> {
  if (net.isIP(host) !== 0) return [host];
  const started = performance.now();
  run.waitingFor = `the name ${host} to be resolved`;
  run.resolving = true;
  try {
    const addresses = await run.names.resolve(host, (cancel) => run.atEnd(cancel));
    run.log(`${host} is ${addresses.join(', ')} (DNS ${elapsed(started)}).`);
    return addresses;
  } catch (error) {
    if (error instanceof NameFault) throw nameFailure(run, host, error.code);
    throw error;
  } finally {
    run.resolving = false;
  }
}

/**
 * Simple happy eyeballs: tries each address in turn, the next one when the last has failed or is
 * late.
 */
function firstToConnect(run: Run, addresses: string[], port: number): Promise<{ socket: Socket; address: string }> {
  return new Promise((resolve, reject) => {
    const open = new Set<Socket>();
    const faults: NodeJS.ErrnoException[] = [];
    const waiting = [...addresses];
    let nextTimer: NodeJS.Timeout | undefined;

    const tryNext = () => {
      clearTimeout(nextTimer);
      const address = waiting.shift();
      if (address === undefined) return;
      const socket = run.hold(net.connect({ host: address, port }));
      open.add(socket);
      if (waiting.length > 0) nextTimer = setTimeout(tryNext, NEXT_ADDRESS_MS);
      socket.once('connect', () => {
        clearTimeout(nextTimer);
        waiting.length = 0;
        const losers = [...open].filter((other) => other !== socket);
        open.clear();
        for (const loser of losers) loser.destroy();
        resolve({ socket, address });
      });
      socket.once('error', (error) => faults.push(error));
      socket.once('close', () => {
        if (!open.delete(socket)) return; // the race is over
        if (waiting.length > 0) tryNext();
        else if (open.size === 0) reject(connectFailure(addresses, port, faults));
      });
    };
    run.atEnd(() => clearTimeout(nextTimer));
    tryNext();
  });
}

/** Out of sockets, or without a network: this machine's fault, not the endpoint's. */
const OWN_FAULTS = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EADDRNOTAVAIL', 'ENETUNREACH', 'ENETDOWN']);

function connectFailure(addresses: string[], port: number, faults: NodeJS.ErrnoException[]): CheckFailure {
  const codes = faults.map((fault) => fault.code ?? fault.message);
  const own = codes.length > 0 && codes.every((code) => OWN_FAULTS.has(code));
  const peers = addresses.map((address) => peerOf(address, port)).join(' or ');
  return new CheckFailure(
    `No connection to ${peers}: ${[...new Set(codes)].join(', ')}. A connection was expected.`,
    own ? 'SYSTEM' : 'CHECK_FAILED',
  );
}

function nameFailure(run: Run, host: string, code: string): CheckFailure {
  if (code === 'ECONNREFUSED' || (code === 'ETIMEOUT' && run.names.areSilent())) {
    return new CheckFailure(`No name server answers, so that ${host} could not be resolved (${code}).`, 'SYSTEM');
  }
  return new CheckFailure(`${host} could not be resolved (${code}). An address was expected.`);
}

function refusal(host: string, addresses: string[]): string {
  const what = addresses.includes(host) ? host : `${host} (${addresses.join(', ')})`;
  return `${what} is in no network that heartbeats may reach here; the operator's setting HEARTBEAT_ALLOW names those.`;
}

function peerOf(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
