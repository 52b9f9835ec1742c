import { readUrl } from '../network/read-url.ts';
/** The operator's mail server, as SMTP_URL describes it. */
export interface SmtpServer {
  host: string;
  port: number;
  /** TLS from the first byte on (smtps). */
  isSecure: boolean;
  /** Nothing is sent before STARTTLS. Without it, STARTTLS is used where the server offers it. */
  requiresTls: boolean;
  login: { user: string; password: string } | undefined;
}

/**
 * The parsed setting SMTP_URL, or a sentence that says what is wrong with it. It shows no password.
 */
export function parseSmtpUrl(text: string): SmtpServer | string {
  const url = readUrl(text);
  if (url === undefined || !/^smtps?:$/.test(url.protocol) || url.hostname === '')
    return 'It must be a URL such as smtp://user:password@mail.example.com:587 or smtps://mail.example.com.';
  if (!/^\/?$/.test(url.pathname) || url.hash !== '')
    return 'It must end with the port or the options: a "/", "?" or "#" in a password is written as %2F, %3F or %23.';
  const isSecure = url.protocol === 'smtps:';
  const requireTls = /^(?:\?requireTLS(?:=(true|false))?)?$/.exec(url.search);
  if (requireTls === null) return 'It has no option but requireTLS, such as ?requireTLS=true.';
  const [user, password] = [decoded(url.username), decoded(url.password)];
  if (user === undefined || password === undefined) return 'A "%" in its user name or password is written as %25.';
  return {
    host: (decoded(url.hostname) ?? url.hostname).replace(/^\[|\]$/g, ''),
    port: url.port === '' ? (isSecure ? 465 : 587) : Number(url.port),
    isSecure,
    requiresTls: url.search !== '' && requireTls[1] !== 'false',
    login: user === '' && password === '' ? undefined : { user, password },
  };
}

/** The address in MAIL_FROM: "alerts@example.com" or "Chronoverse <alerts@example.com>". */
export function parseMailFrom(text: string): { name: string; address: string } | string {
  const [, name = '', bracketed] = /^([^<>]*)<([^<>]+)>$/.exec(text.trim()) ?? [];
  const address = (bracketed ?? text).trim();
  if (/[\p{Cc}]/u.test(text) || !/^[^\s@,;<>"]+@[^\s@,;<>"]+$/.test(address))
    return 'It must be one address, such as alerts@example.com or "Chronoverse <alerts@example.com>".';
  return { name: name.trim().replace(/^"(.*)"$/, '$1'), address };
}

function decoded(part: string): string | undefined {
  try {
    return decodeURIComponent(part);
  } catch {
    return undefined;
  }
}
