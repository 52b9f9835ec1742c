import { z } from 'zod';
import { readUrl } from '../../domain/network/read-url.ts';
import { type DatabaseAddress, parseDatabaseUrl } from '../postgres/address.ts';

/** libpq's values of sslmode. Certificates are settings and not files in the URL. */
const SSL_MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'];
const DATABASE_TLS = `a URL whose sslmode is one of ${SSL_MODES.join(', ')}, with certificates in DATABASE_TLS_CA, DATABASE_TLS_CERT and DATABASE_TLS_KEY instead of ssl, sslrootcert, sslcert and sslkey`;

export function databaseUrl() {
  return ofUrl((text) => {
    const address = parseDatabaseUrl(text);
    if (typeof address === 'string') return address;
    return hasKnownTls(address) ? undefined : DATABASE_TLS;
  });
}

/** Whether the sslmode is known, and no parameter of other clients says something else. */
function hasKnownTls({ sslmode, session }: DatabaseAddress): boolean {
  const hasOthers = Object.keys(session).some((name) => name.startsWith('ssl'));
  return !hasOthers && (sslmode === undefined || SSL_MODES.includes(sslmode));
}

export function redisUrl() {
  return ofUrl((text) => {
    if (!/^rediss?:\/\//i.test(text)) return 'a URL that begins with redis:// or rediss://';
    const url = readUrl(text);
    const right = 'a URL like redis://:PASSWORD@HOST:6379/0';
    if (url === undefined || /[@#]/.test(url.pathname + url.search + url.hash) || url.port === '0')
      return `${right}, with the characters : / ? # [ ] @ % of its password written as %3A %2F %3F %23 %5B %5D %40 %25`;
    if (url.hostname === '') return `${right}, with a host`;
    if (!isEncoded(url.username) || !isEncoded(url.password))
      return `${right}, with each % of its password written as %25`;
    // The client takes parameters for options of its own.
    if ([...url.searchParams.keys()].some((name) => name !== 'family')) return `${right}, without parameters`;
    return /^\/?\d{0,4}$/.test(url.pathname) ? undefined : `${right}, which ends with the number of a database`;
  });
}

export function smtpUrl() {
  return ofUrl((text) => {
    const right = 'a URL like smtp://USER:PASSWORD@HOST:587 or smtps://USER:PASSWORD@HOST:465';
    if (!/^smtps?:\/\//i.test(text) || readUrl(text) === undefined)
      return `${right}, with the characters : / ? # [ ] @ % of its password written as %3A %2F %3F %23 %5B %5D %40 %25`;
    const url = new URL(text);
    if (url.hostname === '' || url.port === '0') return `${right}, with a host`;
    if (!isEncoded(url.username) || !isEncoded(url.password))
      return `${right}, with each % of its password written as %25`;
    if (!/^\/?$/.test(url.pathname) || url.hash !== '') return `${right}, without a path`;
    // The client takes parameters for options of its own, some of which read files.
    return /^(\?requireTLS=(true|false))?$/.test(url.search)
      ? undefined
      : `${right}, with no parameter but ?requireTLS=true`;
  });
}

export function webUrl() {
  return ofUrl((text) =>
    /^https?:\/\//i.test(text) && readUrl(text) !== undefined
      ? undefined
      : 'a URL that begins with http:// or https://',
  );
}

export function engineUrl() {
  return ofUrl((text) => {
    if (!/^(unix|tcp|https?):\/\//i.test(text) || readUrl(text) === undefined)
      return 'a URL that begins with unix:// or tcp:// or http:// or https://';
    const { protocol, hostname, port, pathname, search, username } = new URL(text);
    const isSocket = protocol === 'unix:';
    const isRight = isSocket
      ? /^unix:\/\/\/.*[^/]$/.test(text)
      : hostname !== '' && port !== '0' && /^\/?$/.test(pathname) && search === '' && username === '';
    return isRight ? undefined : 'unix:///path/of/its/socket or tcp://host:port';
  });
}

/** A URL of which `problemOf` says what would be right. Blanks around it are ignored. */
function ofUrl(problemOf: (text: string) => string | undefined) {
  return z.string().transform((text, context) => {
    const url = text.trim();
    const problem = problemOf(url);
    if (problem === undefined) return url;
    context.addIssue(problem);
    return z.NEVER;
  });
}

function isEncoded(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}
