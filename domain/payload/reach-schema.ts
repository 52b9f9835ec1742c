import { domainToASCII } from 'node:url';
import { parseAddress } from '../network/networks.ts';
import { readUrl } from '../network/read-url.ts';
import { text } from './value-schema.ts';

/** What values the fields take that say how a check reaches its endpoint. */

const TEXT_LENGTH_MAX = 300;

/** host:port, with an IPv6 address in brackets. */
export const connectTo = checked(
  'connect_to',
  'must be host:port, like "10.0.0.5:8443" or "[fd00::5]:8443"',
  (value) => {
    const url = bareUrl(`tcp://${value}`);
    return url !== undefined && url.port !== '' && url.port !== '0';
  },
);

export const hostHeader = checked(
  'host_header',
  'must be a host with or without a port, like "example.com"',
  (value) => {
    const url = bareUrl(`tcp://${value}`);
    return url !== undefined && /^[\x21-\x7e]+$/.test(value) && !/[%"'<>\\^`{|}]/.test(value);
  },
);

export const tlsServerName = checked(
  'tls_server_name',
  'must be a name, like "example.com"',
  (value) => parseAddress(value) === undefined && NAME.test(domainToASCII(value)),
);

export const proxy = checked(
  'proxy',
  'must be http://host:port, without a path, user name or password (those go into proxy_auth)',
  (value) => value.startsWith('http://') && bareUrl(value) !== undefined,
);

const NAME = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$/i;

function checked(key: string, what: string, isRight: (value: string) => boolean) {
  return text(key).superRefine((value, context) => {
    if (value.length <= TEXT_LENGTH_MAX && isRight(value)) return;
    context.addIssue({ code: 'custom', message: `${key} ${what}, and at most ${TEXT_LENGTH_MAX} characters.` });
  });
}

/** The URL in a text, if it has only a scheme, a host and a port. */
function bareUrl(value: string): URL | undefined {
  if (/[\s@/?#]/.test(value.replace(/^[a-z]+:\/\//, ''))) return undefined;
  const url = readUrl(value);
  return url === undefined || url.hostname === '' ? undefined : url;
}
