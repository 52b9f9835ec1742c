import net from 'node:net';
import tls, { type DetailedPeerCertificate, type PeerCertificate, type TLSSocket } from 'node:tls';
import { TLS_REFUSALS } from '../../../domain/network/tls-advice.ts';
import type { Connection } from './connect.ts';
import { CheckFailure, elapsed, type Run } from './run.ts';

const DAY_MS = 86_400_000;

/**
 * The TLS handshake over a connection. The certificate must come from a trusted authority and be
 * valid for `host` now and, with `daysMin`, for so many days to come.
 */
export async function secure(
  run: Run,
  { socket, peer }: Connection,
  host: string,
  daysMin?: number,
): Promise<TLSSocket> {
  const started = performance.now();
  run.waitingFor = `the TLS handshake with ${peer}`;
  const secured = run.hold(
    tls.connect({
      socket,
      host,
      ...(net.isIP(host) === 0 ? { servername: host } : {}),
      ...(run.context.trust === undefined ? {} : { secureContext: run.context.trust }),
      ALPNProtocols: ['http/1.1'],
      rejectUnauthorized: false, // refused below, where we can report the certificate: an error would drop it
    }),
  );
  await new Promise<void>((resolve, reject) => {
    // In the next turn: Node 20 crashes the whole process when a socket is destroyed while its
    // handshake is on the stack.
    secured.once('secureConnect', () => setImmediate(resolve));
    secured.once('error', (error) => reject(handshakeFailure(peer, host, error)));
    secured.once('close', () => reject(handshakeFailure(peer, host, new Error('the connection was closed'))));
  });
  const certificate = secured.getPeerCertificate();
  if (!secured.authorized) throw refusal(peer, host, String(secured.authorizationError), certificate);
  run.log(`${secured.getProtocol()} in ${elapsed(started)}; ${describe(certificate)}.`);
  // An end that cannot be parsed must not pass for a valid one.
  if (daysMin !== undefined && !(daysLeft(certificate) >= daysMin)) {
    throw new CheckFailure(`Of ${peer}, ${describe(certificate)}. At least ${daysMin} were expected.`);
  }
  return secured;
}

function handshakeFailure(peer: string, host: string, error: NodeJS.ErrnoException): CheckFailure {
  const said =
    error.code === undefined || error.message.includes(error.code) ? error.message : `${error.message} (${error.code})`;
  return new CheckFailure(`No TLS with ${peer}: ${said}. A certificate valid for ${host} was expected.`);
}

const NAMES_LENGTH_MAX = 200;

function refusal(peer: string, host: string, code: string, certificate: PeerCertificate): CheckFailure {
  const { subject, issuer, subjectaltname: names = 'no name' } = certificate;
  const issued = `issued by ${nameIn(issuer)} for ${names.length > NAMES_LENGTH_MAX ? `${names.slice(0, NAMES_LENGTH_MAX)}…` : names}`;
  const seen = `that of ${nameIn(subject)}, ${issued}, is valid from ${instant(certificate.valid_from)} until ${instant(certificate.valid_to)}`;
  const why = TLS_REFUSALS[code] === undefined ? code : `${TLS_REFUSALS[code]} (${code})`;
  return new CheckFailure(`No TLS with ${peer}: ${why}; ${seen}. A certificate valid for ${host} was expected.`);
}

function nameIn(subject: PeerCertificate['subject'] | undefined): string {
  return [subject?.CN ?? subject?.O ?? []].flat().join(' and ') || 'nobody';
}

/** A date from a certificate. An unparsable one stays as it is. */
function instant(text: string): string {
  const date = new Date(text);
  return Number.isNaN(date.getTime()) ? text : date.toISOString();
}

function describe(certificate: PeerCertificate | DetailedPeerCertificate): string {
  return `the certificate of ${nameIn(certificate.subject)} is valid until ${instant(certificate.valid_to)}, ${daysLeft(certificate)} days left`;
}

/** Whole days. */
function daysLeft({ valid_to: validTo }: PeerCertificate | DetailedPeerCertificate): number {
  return Math.floor((new Date(validTo).getTime() - Date.now()) / DAY_MS);
}
