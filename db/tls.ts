import { isIP } from 'node:net';
import type postgres from 'postgres';
import type { TlsMaterial } from '../platform/pem.ts';

/**
 * How the driver connects to the database at `url`, by the URL's sslmode with the meanings of
 * libpq. Without an sslmode, the connection uses TLS and verifies the server if authorities or a
 * certificate are given. `require` verifies the server too if authorities are given.
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
      // The driver passes names only, and an address must match the certificate too.
      ...(isIP(host) === 0 ? {} : { host }),
    },
  };
}
