import { isIP } from 'node:net';
import type postgres from 'postgres';
import type { TlsMaterial } from '../platform/pem.ts';
import { type DatabaseAddress, parseDatabaseUrl } from '../platform/postgres/address.ts';

type Options = postgres.Options<Record<string, never>>;

/**
 * How the driver connects to the database at `url`. It gets the parts and not the URL, of which it
 * understands neither IPv6 addresses nor Unix sockets. `session` are the settings of the session:
 * they win over those of the URL, except for the name of the application.
 */
export function driverOptions(
  url: string,
  { tls, session }: { tls?: TlsMaterial | undefined; session: NonNullable<Options['connection']> },
): Options {
  const address = parseDatabaseUrl(url);
  if (typeof address === 'string') throw new Error(`The URL of the database must be ${address}.`);
  const { host, port, user, password, database } = address;
  const name = address.session.application_name;
  const options: Options = {
    host,
    port,
    ...(host.startsWith('/') && { path: `${host}/.s.PGSQL.${port}` }),
    ...(user !== undefined && { user }),
    ...(password !== undefined && { password }),
    ...(database !== undefined && { database }),
    ...sslOptions(address, tls),
    connection: { ...address.session, ...session, ...(name !== undefined && { application_name: name }) },
  };
  // The driver takes a text apart at its colons, but no list of one. Its types do not say so.
  return Object.assign(options, { host: [host], port: [port] });
}

/**
 * The URL's sslmode with the meanings of libpq. Without an sslmode, the connection uses TLS and
 * verifies the server if authorities or a certificate are given. `require` verifies the server too
 * if authorities are given. A Unix socket never uses TLS.
 */
function sslOptions({ host, sslmode: mode }: DatabaseAddress, tls?: TlsMaterial): Pick<Options, 'ssl'> {
  if (host.startsWith('/') || mode === 'disable' || (mode === undefined && tls === undefined)) return { ssl: false };
  if (mode === 'allow' || mode === 'prefer') return { ssl: mode };
  const verifies = mode !== 'require' || tls?.ca !== undefined;
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
