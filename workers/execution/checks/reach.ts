import type { Socket } from 'node:net';
import { domainToASCII } from 'node:url';
import type { HeartbeatPayload } from '../../../domain/payload/payload.ts';
import { connect } from './connect.ts';
import { hostOf, withoutDot } from './endpoint.ts';
import { connectThrough } from './proxy.ts';
import { CheckFailure, type Run } from './run.ts';
import { secure } from './tls.ts';
import type { HttpProtocols } from './tls-words.ts';
import { type Trust, trustOf } from './trust.ts';

/**
 * A connection to the server of `url`, secured where the scheme wants it. What the payload says for
 * its endpoint does not hold for another origin, to which a redirect may lead: neither the place to
 * connect to, nor the name to ask for, nor the client certificate.
 */
export async function reach(
  run: Run,
  payload: HeartbeatPayload<never>,
  url: URL,
  endpoint: URL,
  protocols: HttpProtocols,
): Promise<Socket> {
  const isOwn = url.origin === endpoint.origin;
  const isSecure = url.protocol === 'https:';
  run.faultWords = () => undefined; // those of the connection before
  const elsewhere = isOwn ? payload.connect_to : undefined;
  if (elsewhere !== undefined) run.log(`Connects to ${elsewhere} in place of ${url.host}.`);
  const place = elsewhere === undefined ? url : new URL(`tcp://${elsewhere}`);
  const [host, port] = [hostOf(place), Number(place.port || (isSecure ? 443 : 80))];
  const connection =
    payload.proxy === undefined
      ? await connect(run, host, port)
      : await connectThrough(run, new URL(payload.proxy), payload.proxy_auth, host, port);
  if (!isSecure) return connection.socket;
  return secure(run, connection, withoutDot(hostOf(url)), payload.min_tls_days_left, {
    protocols,
    trust: trustFor(run, payload, isOwn),
    verify: payload.tls_verify,
    serverName: isOwn ? serverNameOf(payload) : undefined,
  });
}

const UNUSABLE_MATERIAL = 'The authorities or the client certificate of this check cannot be used: give them again.';
/** By the codes of OpenSSL. */
const REFUSED_MATERIAL: Record<string, string> = {
  ERR_SSL_CA_MD_TOO_WEAK: 'The client certificate of this check is signed with MD5 or SHA-1. A safe one was expected.',
  ERR_SSL_EE_KEY_TOO_SMALL: 'The key of the client certificate of this check is too short. A safe one was expected.',
};

/** In ASCII, as certificates have it. */
function serverNameOf({ tls_server_name: name }: HeartbeatPayload<never>): string | undefined {
  return name === undefined ? undefined : domainToASCII(name);
}

function trustFor(run: Run, { tls_ca: ca, client_certificate }: HeartbeatPayload<never>, isOwn: boolean): Trust {
  const client = isOwn ? client_certificate : undefined;
  const { trust } = run.context;
  if (ca === undefined && client === undefined && trust !== undefined) return trust;
  try {
    return trustOf({ ca: ca ?? trust?.ca, client });
  } catch (error) {
    // OpenSSL's text may quote what it cannot read.
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    throw new CheckFailure(REFUSED_MATERIAL[code] ?? UNUSABLE_MATERIAL);
  }
}
