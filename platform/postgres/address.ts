import { readUrl } from '../../domain/network/read-url.ts';
/** Where a database is, and who asks it, by a URL as libpq reads it. */
export interface DatabaseAddress {
  /** A name or an address, IPv6 without brackets, or the folder of a Unix socket. */
  host: string;
  port: number;
  /** Undefined leaves it to the driver. */
  user: string | undefined;
  password: string | undefined;
  database: string | undefined;
  sslmode: string | undefined;
  /** The other parameters: settings of the session, which the server knows or refuses. */
  session: Record<string, string>;
}

const PORT = 5432;
/** Parameters of libpq that say how to connect. Here they change nothing. */
const CONNECTING = [
  'target_session_attrs',
  'connect_timeout',
  'keepalives',
  'keepalives_idle',
  'keepalives_interval',
  'keepalives_count',
];

/**
 * Reads "postgres://user:password@host:port/database?parameters". The host may be the folder of a
 * Unix socket: with its slashes as %2F, or as the parameter `host`. Returns a sentence's end that
 * says what would be right if it is none.
 */
export function parseDatabaseUrl(text: string): DatabaseAddress | string {
  const [scheme] = /^postgres(ql)?:\/\//i.exec(text.trim()) ?? [];
  if (scheme === undefined) return 'a URL that begins with postgres:// or postgresql://';
  if (/^\w+:\/\/([^/?#]*@)?[^/?#@]*,/.test(text.trim()))
    return 'a URL with one host: of several servers, name a proxy that knows the primary';
  const url = urlOf(text.trim());
  if (url === undefined) return `a URL like postgres://USER:PASSWORD@HOST:5432/DATABASE, with ${ENCODED}`;
  const parts = [url.hostname, url.username, url.password, url.pathname.slice(1)].map(decoded);
  const [hostname, user, password, database] = parts;
  if (hostname === undefined || user === undefined || password === undefined || database === undefined)
    return 'a URL in which % begins a code of two hex digits, and % itself is written as %25';
  const { host = hostname, sslmode, ...session } = Object.fromEntries(url.searchParams);
  const odd = Object.keys(session).find((name) => !/^[a-z_][a-z0-9_.]*$/i.test(name));
  if (odd !== undefined) return `a URL whose parameters have names, with ${ENCODED}`;
  if (host === '') return 'a URL with a host, like postgres://USER:PASSWORD@HOST:5432/DATABASE';
  for (const name of CONNECTING) delete session[name];
  return {
    host: host.replace(/^\[|\]$/g, ''),
    port: Number(url.port || PORT),
    user: user || undefined,
    password: password || undefined,
    database: database || undefined,
    sslmode,
    session,
  };
}

/** The place, without user and password. */
export function shownDatabase(url: string): string {
  const address = parseDatabaseUrl(url);
  if (typeof address === 'string') return 'an unknown place';
  const { host, port, database } = address;
  if (host.startsWith('/')) return `${host}/.s.PGSQL.${port}, database ${database ?? ''}`;
  return `${host.includes(':') ? `[${host}]` : host}:${port}/${database ?? ''}`;
}

const ENCODED =
  'a port up to 65535, and the characters : / ? # [ ] @ % of its user and password written as %3A %2F %3F %23 %5B %5D %40 %25';

/** Before the parameter `host`, the place of the host may be empty, which a URL does not allow. */
function urlOf(text: string): URL | undefined {
  const whole = text.replace(/^(\w+:\/\/[^/?#]*@)(?=[/?])/, '$1localhost');
  if (readUrl(whole) === undefined) return undefined;
  const url = new URL(whole);
  if (url.hash !== '' || /@/.test(url.pathname) || url.port === '0') return undefined;
  return whole === text || url.searchParams.has('host') ? url : undefined;
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
