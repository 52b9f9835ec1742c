import net from 'node:net';
import { type HostAndPort, parseAddressAndPort, shownHostAndPort } from '../../../domain/network/host-port.ts';
import { isAllowed, parseAddress } from '../../../domain/network/networks.ts';
import { DNS_PORT } from '../../../domain/payload/heartbeat-schema.ts';
import type { HeartbeatPayload } from '../../../domain/payload/payload.ts';
import { isAnswered } from '../../shared/dns/name-servers.ts';
import { NameFault } from '../../shared/dns/names.ts';
import { type Addresses, addressesOf, comingOf, lateAddresses, nameFailure, refusal } from './connect.ts';
import { hostOf } from './endpoint.ts';
import { missingOf } from './expected-records.ts';
import { CheckFailure, elapsed, type Run, UnclearFailure } from './run.ts';
import { shownList } from './shown-list.ts';

type DnsPayload = Pick<HeartbeatPayload<never>, 'dns_record_type' | 'dns_expected_values' | 'dns_server'>;

/**
 * dns://name succeeds when the name has an address, or a record of the type that the payload names,
 * and every expected value is among them. It opens no connection, so the network policy decides
 * only about a name server that the payload names.
 */
export async function checkDns(run: Run, payload: DnsPayload, url: URL): Promise<void> {
  const host = hostOf(url);
  const { dns_record_type: type, dns_expected_values: expected = [] } = payload;
  const { known, late } = await valuesOf(run, host, payload);
  if (missingOf(type, known, expected).length === 0) return;
  const found = [...known, ...(await comingOf(run, host, late))];
  const missing = missingOf(type, found, expected);
  if (missing.length === 0) return;
  const wanted = shownList(
    '',
    missing.map((value) => JSON.stringify(value)),
    ' was expected among them.',
    ' and ',
  );
  throw new CheckFailure(`${host} is ${shownList('', found, '.')} ${wanted}`);
}

async function valuesOf(run: Run, host: string, payload: DnsPayload): Promise<Addresses> {
  const { dns_record_type: type, dns_server: server } = payload;
  if (net.isIP(host) !== 0 && type !== 'PTR') {
    if (type !== undefined) throw new CheckFailure(`${host} is an address. It can have records of the type PTR only.`);
    run.log(`${host} is an address already: there is nothing to resolve.`);
    return { known: [host], late: undefined };
  }
  if (type === undefined && server === undefined) return addressesOf(run, host);
  return recordsOf(run, host, payload);
}

/**
 * Asks for the name as it is written, without the hosts file and without search domains, as dig
 * does: at the server that the payload names, or at those of this machine.
 */
async function recordsOf(run: Run, host: string, payload: DnsPayload): Promise<Addresses> {
  const { dns_record_type: type, dns_server: server } = payload;
  const at = server === undefined ? undefined : admittedServer(run, server);
  const shownAt = at === undefined ? '' : ` at ${shownHostAndPort(at)}`;
  const since = performance.now();
  run.waitingFor = `the ${type === undefined ? 'addresses' : `${type} records`} of ${host}${shownAt}`;
  const suspect = at === undefined ? { name: host, addresses: [], since } : { addresses: [at.host], since };
  run.suspect = suspect;
  const question = { name: reversed(host) ?? host, type, server: at && shownHostAndPort(at) };
  try {
    const { addresses: known, late } = await run.names.ask(question, (cancel) => run.atEnd(cancel));
    run.log(`${host} is ${known.join(', ')} (${type ?? 'A, AAAA'}${shownAt} in ${elapsed(since)}).`);
    return { known, late: late && lateAddresses(run, { host, known, answer: late, suspect }) };
  } catch (error) {
    if (!(error instanceof NameFault)) throw error;
    if (at === undefined) throw nameFailure(host, error.code, since, type);
    throw serverFailure(at, nameFailure(host, error.code, since, type).message, error.code, since);
  }
}

/** Whether an own server answers is a question to that server, not to those of this machine. */
function serverFailure(at: HostAndPort, said: string, code: string, since: number): CheckFailure {
  const message = `At ${shownHostAndPort(at)}, ${said}`;
  if (isAnswered(code)) return new CheckFailure(message);
  return new UnclearFailure(message, 'CHECK_FAILED', { addresses: [at.host], since, refused: code === 'ECONNREFUSED' });
}

function admittedServer(run: Run, text: string): HostAndPort {
  const at = parseAddressAndPort(text, DNS_PORT);
  if (at === undefined) throw new CheckFailure(`${text} is no address of a name server.`);
  if (!isAllowed(run.context.allow, at.host)) throw new CheckFailure(refusal(run, at.host, [at.host]));
  return at;
}

/** The name under which the DNS has the names of an address. */
function reversed(address: string): string | undefined {
  const parsed = net.isIP(address) === 0 ? undefined : parseAddress(address);
  const bytes = parsed?.toByteArray().reverse();
  if (bytes === undefined) return undefined;
  if (bytes.length === 4) return `${bytes.join('.')}.in-addr.arpa`;
  return `${bytes.map((byte) => `${(byte & 15).toString(16)}.${(byte >> 4).toString(16)}`).join('.')}.ip6.arpa`;
}
