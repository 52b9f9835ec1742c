import { isIP } from 'node:net';
import type postgres from 'postgres';
import type { TlsMaterial } from '../platform/pem.ts';

/**
 * How the driver connects to the database at `url`, by its sslmode in the words of libpq. Without
 * one, the connection is TLS if authorities or a certificate are given, and then it verifies the
 * server. `require` verifies it too if authorities are given.
 */
export function sslOptions(url: string, tls?: TlsMaterial): Pick<postgres.Options<Record<string, never>>, 'ssl'> {
  const { hostname, searchParams } = new URL(url);
  const mode = searchParams.get('sslmode');
  if (mode === 'disable' || (mode === null && tls === undefined)) return { ssl: false };
  if (mode === 'allow' || mode === 'prefer') return { ssl: mode };
  const verifies = mode !== 'require' || tls?.ca !== undefined;
  const host = hostname.replace(/^\[|\]$/g, '');
  return {
    ssl: {
      ...tls,
      rejectUnauthorized: verifies,
      ...(mode === 'verify-ca' ? { checkServerIdentity: () => undefined } : {}),
      ...(isIP(host) === 0 ? {} : { host }), // the driver gives names alone, and an address is compared with the certificate too
    },
  };
}
