import type { X509Certificate } from 'node:crypto';
import net from 'node:net';
import tls, { type TLSSocket } from 'node:tls';
import { daysLeft, instant, subjectOf } from './certificate.ts';
import { type Chain, chainsOf, soonestOf } from './chain.ts';
import { refusalOf } from './chain-fault.ts';
import type { Connection } from './connect.ts';
import { CheckFailure, elapsed, type Run } from './run.ts';
import { connectionWords, type HttpProtocols, handshakeWords } from './tls-words.ts';
import { CIPHERS, SYSTEM_TRUST, type Trust } from './trust.ts';

/** What a payload says about TLS. */
export interface TlsOptions {
  protocols?: HttpProtocols;
  trust?: Trust | undefined;
  /** Whether the server's certificates must be right. Default: true. */
  verify?: boolean | undefined;
  /** Replaces the host as the name that is asked for, and that the certificate must be for. */
  serverName?: string | undefined;
}

/**
 * The TLS handshake over a connection. The certificates must come from a trusted authority and be
 * valid for `host` now and, with `daysMin`, for so many days to come. The days of the trusted
 * authority itself do not count: visitors have it, not the server.
 */
export async function secure(
  run: Run,
  { socket, peer }: Connection,
  host: string,
  daysMin?: number,
  {
    protocols = ['http/1.1'],
    trust = run.context.trust ?? SYSTEM_TRUST,
    verify = true,
    serverName = host,
  }: TlsOptions = {},
): Promise<TLSSocket> {
  const started = performance.now();
  run.waitingFor = `the TLS handshake with ${peer}`;
  const secured = await shakeHands(run, { socket, peer }, { serverName, trust, protocols });
  const sent = certificatesOf(secured);
  const [own] = sent;
  const what = own === undefined ? 'the server has shown no certificate' : described(own, 'certificate');
  run.log(`${secured.getProtocol()} in ${elapsed(started)}; ${what}.`);
  expectClientCertificate(run, secured, trust);
  if (!verify && secured.authorized) run.log(`${UNVERIFIED}.`, 'STDERR');
  if (secured.authorized && daysMin === undefined) return secured;

  const chains = chainsOf(sent, trust.find);
  if (!secured.authorized) {
    const refusal = refusalOf(String(secured.authorizationError), chains, serverName);
    if (verify) throw new CheckFailure(`No TLS with ${peer}: ${refusal}`);
    run.log(`${UNVERIFIED}, and these would be refused: ${refusal}`, 'STDERR');
  }
  if (daysMin !== undefined) expectDays(peer, chains[0] ?? { certificates: [], anchor: undefined }, daysMin);
  return secured;
}

const UNVERIFIED = 'Certificates are not verified (tls_verify is false)';

function shakeHands(
  run: Run,
  { socket, peer }: Connection,
  { serverName, trust, protocols }: { serverName: string; trust: Trust; protocols: HttpProtocols },
): Promise<TLSSocket> {
  const isName = net.isIP(serverName) === 0;
  const before = socket.bytesRead;
  const secured = run.hold(
    tls.connect({
      socket,
      host: serverName,
      ...(isName ? { servername: serverName } : {}),
      ciphers: CIPHERS,
      ...(trust.context === undefined ? {} : { secureContext: trust.context }),
      ALPNProtocols: [...protocols],
      rejectUnauthorized: false, // refused by `secure`, which can report the certificate: an error would drop it
    }),
  );
  return new Promise<TLSSocket>((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException) => {
      const fault = { error, bytesRead: socket.bytesRead - before, hasClientCertificate: trust.hasClientCertificate };
      const asked = { serverName: isName ? serverName : undefined, protocols };
      const { what, expected } = handshakeWords({ ...fault, ...asked });
      reject(new CheckFailure(`No TLS with ${peer}: ${what}. ${expected}.`));
    };
    const close = () => fail(Object.assign(new Error('the connection was closed'), { code: 'ECONNRESET' }));
    // In the next turn: Node 20 crashes the whole process when a socket is destroyed while its
    // handshake is on the stack.
    secured.once('secureConnect', () => setImmediate(() => (secured.destroyed ? close() : resolve(secured))));
    secured.once('error', fail);
    secured.once('close', close);
  });
}

/** Only a server that asks for a certificate says which signatures it takes. */
function expectClientCertificate(run: Run, secured: TLSSocket, { hasClientCertificate }: Trust): void {
  const asksForClientCertificate = secured.getSharedSigalgs().length > 0;
  if (asksForClientCertificate && !hasClientCertificate)
    run.log('The server asks for a client certificate; the check has none.');
  const known = {
    bytesRead: Number.POSITIVE_INFINITY,
    serverName: undefined,
    protocols: [],
    hasClientCertificate,
    asksForClientCertificate,
  };
  run.faultWords = (error) => connectionWords({ error, ...known });
}

/** The certificates as the server sent them, its own first. Node links each to the next. */
function certificatesOf(secured: TLSSocket): X509Certificate[] {
  const sent: X509Certificate[] = [];
  for (let one = secured.getPeerX509Certificate(); one !== undefined; one = one.issuerCertificate) sent.push(one);
  return sent;
}

function expectDays(peer: string, chain: Chain, daysMin: number): void {
  const soonest = soonestOf(chain);
  // An end that cannot be parsed must not pass for a valid one.
  if (soonest !== undefined && daysLeft(soonest) >= daysMin) return;
  const what = soonest === undefined ? 'there is no certificate' : described(soonest, nameOf(soonest, chain));
  throw new CheckFailure(`Of ${peer}, ${what}. At least ${daysMin} were expected.`);
}

function nameOf(certificate: X509Certificate, { certificates }: Chain): string {
  return certificate === certificates[0] ? 'certificate' : 'intermediate certificate';
}

function described(certificate: X509Certificate, name: string): string {
  return `the ${name} of ${subjectOf(certificate)} is valid until ${instant(certificate.validTo)}, ${daysLeft(certificate)} days left`;
}
