import net, { type Socket } from 'node:net';
import { shownHostAndPort } from '../../../domain/network/host-port.ts';
import { isAllowed } from '../../../domain/network/networks.ts';
import type { DnsRecordType } from '../../../domain/payload/heartbeat-schema.ts';
import { type Answer, isAnswered, isDefinite } from '../../shared/dns/name-servers.ts';
import { NameFault } from '../../shared/dns/names.ts';
import type { Attempt } from '../network/crowd.ts';
import { isBeyondLinks } from '../network/links.ts';
import { connectFailure } from './faults.ts';
import { type Field, firstToConnect, inTurns } from './race.ts';
import { CheckFailure, type Doubt, elapsed, type Run, UnclearFailure } from './run.ts';
import { shownList } from './shown-list.ts';

export interface Connection {
  socket: Socket;
  /** address:port, written as in a URL. */
  peer: string;
}

/**
 * Connects to `host`, a name or an address. The policy decides about each address, and the socket
 * opens to exactly that address, so a name that resolves differently a moment later has no effect.
 */
export async function connect(run: Run, host: string, port: number): Promise<Connection> {
  const admitted = await admittedAddresses(run, host);
  const { known } = admitted;
  // By its address: many names of one server that is down are one host.
  const attempt = run.connectivity.begin(run.context.userId ?? '', known[0] ?? host);
  if (!known.every(isBeyondLinks)) attempt.withdraw();
  try {
    return await connectToFirst(run, attempt, { host, port, admitted });
  } catch (error) {
    if (!(error instanceof UnclearFailure)) attempt.withdraw();
    else if (error.suspect.refused) attempt.answered();
    else attempt.failed();
    throw error;
  }
}

async function connectToFirst(
  run: Run,
  attempt: Attempt,
  { host, port, admitted }: { host: string; port: number; admitted: Addresses },
): Promise<Connection> {
  const started = performance.now();
  const { late } = admitted;
  const field: Field = { port, waiting: admitted.known, tried: [], faults: [], late: undefined };
  const reaching = () => {
    run.waitingFor = () => `a connection to ${peersOf(field)}${shownList(' (not tried: ', field.waiting, ')')}`;
    run.suspect = { addresses: field.tried, since: started };
  };
  if (late !== undefined)
    field.late = {
      answer: late.answer,
      admit: (answer) => {
        reaching();
        return admissible(run, late.read(answer));
      },
      onAlone: () => {
        run.waitingFor = `the ${late.family} addresses of ${host}, after no connection to ${peersOf(field)}: ${codesOf(field)}`;
        run.suspect = late.suspect;
      },
    };
  reaching();

  const winner = await firstToConnect(run, field);
  if (winner === undefined) {
    const message = `No connection to ${peersOf(field)}: ${codesOf(field)}. A connection was expected.`;
    throw connectFailure(`${message}${shownList(' Addresses not tried: ', field.waiting, '.')}`, field.faults, started);
  }
  const { socket, address } = winner;
  run.suspect = { addresses: [address], since: started };
  if (isBeyondLinks(address)) attempt.reached({ host: address, port });
  const peer = shownHostAndPort({ host: address, port });
  run.log(`Connected to ${peer} in ${elapsed(started)}.`);
  return { socket, peer };
}

function peersOf({ tried, port }: Field): string {
  const peers = tried.map((address) => shownHostAndPort({ host: address, port }));
  return shownList('', peers, '', ' or ');
}

function codesOf({ faults }: Field): string {
  return [...new Set(faults.map(({ code }) => code))].join(', ');
}

/** The addresses of a host. */
export interface Addresses {
  known: string[];
  /** The other family's, when the name servers are late with them. */
  late: LateAddresses | undefined;
}

export interface LateAddresses {
  family: 'IPv4' | 'IPv6';
  /** Never rejects. */
  answer: Promise<Answer>;
  /** Logs the addresses in an answer, and returns them. */
  read: (answer: Answer) => string[];
  /** What to find out when it does not come in time. */
  suspect: Doubt;
}

/** The addresses of `host` that the policy admits, at least one. */
export async function admittedAddresses(run: Run, host: string): Promise<Addresses> {
  const { known, late } = await addressesOf(run, host);
  const admitted = admissible(run, known);
  if (admitted.length > 0) return { known: admitted, late };
  const more = await comingOf(run, host, late);
  const rest = admissible(run, more);
  if (rest.length === 0) throw new CheckFailure(refusal(run, host, [...known, ...more]));
  return { known: rest, late: undefined };
}

/** Waits for the addresses that are late, and returns those that the policy admits. */
export async function admittedLater(run: Run, host: string, late: LateAddresses): Promise<string[]> {
  return admissible(run, await comingOf(run, host, late));
}

function admissible(run: Run, addresses: string[]): string[] {
  return inTurns(addresses.filter((address) => isAllowed(run.context.allow, address)));
}

/** Waits for the addresses that are late. */
export async function comingOf(run: Run, host: string, late: LateAddresses | undefined): Promise<string[]> {
  if (late === undefined) return [];
  run.waitingFor = `the ${late.family} addresses of ${host}`;
  run.suspect = late.suspect;
  const addresses = late.read(await late.answer);
  run.suspect = undefined;
  return addresses;
}

/** The addresses of `host`. For a name, it logs them and the time that resolving took. */
export async function addressesOf(run: Run, host: string): Promise<Addresses> {
  if (net.isIP(host) !== 0) return { known: [host], late: undefined };
  const started = performance.now();
  run.waitingFor = `the name ${host} to be resolved`;
  const suspect = { name: host, addresses: [], since: started };
  run.suspect = suspect;
  try {
    const { addresses, name, late } = await run.names.find(host, (cancel) => run.atEnd(cancel));
    const asked = name === host ? host : `${host}, found as ${name},`;
    run.log(`${asked} is ${addresses.join(', ')} (DNS ${elapsed(started)}).`);
    return { known: addresses, late: late && lateAddresses(run, { host, known: addresses, answer: late, suspect }) };
  } catch (error) {
    if (error instanceof NameFault) throw nameFailure(host, error.code, started);
    throw error;
  } finally {
    run.suspect = undefined;
  }
}

export function lateAddresses(
  run: Run,
  { host, known, answer, suspect }: { host: string; known: string[]; answer: Promise<Answer>; suspect: Doubt },
): LateAddresses {
  const family = known.some((address) => address.includes(':')) ? 'IPv4' : 'IPv6';
  return {
    family,
    answer,
    suspect,
    read: ({ values, code }) => {
      const took = `(DNS ${elapsed(suspect.since)})`;
      if (values.length > 0) run.log(`${host} is also ${values.join(', ')} ${took}.`);
      else if (!isDefinite(code))
        run.log(`The ${family} addresses of ${host} did not come: ${code} ${took}.`, 'STDERR');
      return values;
    },
  };
}

/** Without `type`, an address was asked for. */
export function nameFailure(host: string, code: string, since: number, type?: DnsRecordType): CheckFailure {
  const expected = type === undefined ? 'An address' : `A record of the type ${type}`;
  const message = `${host} could not be resolved (${code}). ${expected} was expected.`;
  if (isDefinite(code) || code === 'EBADNAME') return new CheckFailure(message);
  return new UnclearFailure(message, 'CHECK_FAILED', {
    name: host,
    addresses: [],
    since,
    isAnswered: isAnswered(code),
  });
}

/** The message for a host that the policy does not admit. */
export function refusal({ context }: Run, host: string, addresses: string[]): string {
  const what = addresses.includes(host) ? host : `${host} (${addresses.join(', ')})`;
  const why = context.unreachable ?? UNREACHABLE;
  return `${what} ${why}`;
}

const UNREACHABLE =
  "is in no network that heartbeats may reach here; the operator's setting HEARTBEAT_ALLOW names those.";
