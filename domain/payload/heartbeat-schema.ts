import { z } from 'zod';
import { PING_GRACE_SECONDS_MAX } from '../limits.ts';
import { parseAddressAndPort } from '../network/host-port.ts';
import { readUrl } from '../network/read-url.ts';
import { didYouMean } from '../suggest.ts';
import { byteCount } from '../text.ts';
import { rangeProblem } from './status-ranges.ts';
import { flag, seconds, text, typeError } from './value-schema.ts';

/** What values a HEARTBEAT's fields take. Messages are whole sentences. */

export const HTTP_METHODS = ['GET', 'HEAD', 'POST', 'PUT'] as const;
export type HttpMethod = (typeof HTTP_METHODS)[number];

export const HTTP_VERSIONS = ['AUTO', 'HTTP_1_1', 'HTTP_2'] as const;

export const HEARTBEAT_SECONDS_MIN = 0.1;
const ENDPOINT_LENGTH_MAX = 2048;
const STATUSES_MAX = 50;

export const endpoint = text('The endpoint').superRefine((value, context) => {
  const problem = endpointProblem(value);
  if (problem) context.addIssue({ code: 'custom', message: problem });
});

export const expectedStatus = z
  .array(
    z
      .number({ error: typeError('Each expected status', 'a number') })
      .refine(
        (status) => Number.isInteger(status) && status >= 100 && status <= 599,
        'An expected status must be 100 to 599.',
      ),
    { error: typeError('expected_status', 'a list of numbers') },
  )
  .min(1, 'Name at least one expected status, or leave it out for any 2xx.')
  .max(STATUSES_MAX, `Name at most ${STATUSES_MAX} expected statuses.`);

export const expectedStatusRanges = z
  .array(
    text('Each range of statuses').superRefine((value, context) => {
      const problem = rangeProblem(value);
      if (problem) context.addIssue({ code: 'custom', message: problem });
    }),
    { error: typeError('expected_status_ranges', 'a list of texts') },
  )
  .min(1, 'Name at least one range of statuses, or leave it out for any 2xx.')
  .max(STATUSES_MAX, `Name at most ${STATUSES_MAX} ranges of statuses.`);

const REDIRECTS_MAX = 20;
export const maxRedirects = z
  .number({ error: typeError('The most redirects', 'a number') })
  .refine(
    (redirects) => Number.isInteger(redirects) && redirects >= 0 && redirects <= REDIRECTS_MAX,
    `The most redirects must be a whole number from 0 to ${REDIRECTS_MAX}.`,
  );

export const DNS_RECORD_TYPES = ['A', 'AAAA', 'CAA', 'CNAME', 'MX', 'NS', 'PTR', 'SOA', 'SRV', 'TXT'] as const;
export type DnsRecordType = (typeof DNS_RECORD_TYPES)[number];

const DNS_VALUES_MAX = 50;
export const dnsExpectedValues = z
  .array(
    text('Each expected value').refine((value) => value.trim() !== '', 'An expected value must not be empty.'),
    {
      error: typeError('dns_expected_values', 'a list of texts'),
    },
  )
  .min(1, 'Name at least one expected value, or leave them out.')
  .max(DNS_VALUES_MAX, `Name at most ${DNS_VALUES_MAX} expected values.`);

export const DNS_PORT = 53;
export const dnsServer = text('The name server').refine(
  (value) => parseAddressAndPort(value, DNS_PORT) !== undefined,
  'The name server must be an address, with a port or without, like "192.0.2.53" or "[2001:db8::53]:5353".',
);

export const TCP_TEXT_BYTES_MAX = 4_096;
export function tcpText(subject: string) {
  return text(subject)
    .min(1, `${subject} must not be empty.`)
    .refine(
      (value) => byteCount(value) <= TCP_TEXT_BYTES_MAX,
      `${subject} must have at most ${TCP_TEXT_BYTES_MAX} bytes.`,
    );
}

const TLS_DAYS_MAX = 3_650;
const tlsDaysBounds = `The days that a certificate must have left must be a whole number from 0 to ${TLS_DAYS_MAX}.`;
export const tlsDaysLeft = z
  .number({ error: typeError('The days that a certificate must have left', 'a number') })
  .refine((days) => Number.isInteger(days) && days >= 0 && days <= TLS_DAYS_MAX, tlsDaysBounds);

export const push = z.strictObject(
  {
    start_grace_seconds: graceSeconds('The grace of a ping').optional(),
    run_grace_seconds: graceSeconds('The grace of a run').optional(),
    post_only: flag('post_only').optional(),
  },
  { error: typeError('push', 'an object, like {"start_grace_seconds": 300}') },
);

function graceSeconds(subject: string) {
  return seconds(subject, 1, PING_GRACE_SECONDS_MAX).refine(
    Number.isInteger,
    `${subject} must be a whole number of seconds.`,
  );
}

function endpointProblem(value: string): string | undefined {
  if (value.length > ENDPOINT_LENGTH_MAX) return `The endpoint must have at most ${ENDPOINT_LENGTH_MAX} characters.`;
  if (/\s/.test(value)) return 'The endpoint must not contain white space.';
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(value)?.[1]?.toLowerCase() ?? '';
  if (scheme === 'ws' || scheme === 'wss')
    return `For a WebSocket the endpoint must begin with ${scheme.replace('ws', 'http')}://, and "websocket" must be true.`;
  if (!SCHEMES.includes(scheme)) {
    return `The endpoint must begin with http://, https://, tcp:// or dns://.${didYouMean(scheme, SCHEMES)}`;
  }
  const url = readUrl(value);
  if (!url?.hostname) return `The endpoint must be a valid URL, like "${EXAMPLES[scheme]}".`;
  if (url.username || url.password) {
    return 'The endpoint must not hold a user name or password: send an Authorization header instead.';
  }
  const bare = (url.pathname === '' || url.pathname === '/') && url.search === '' && url.hash === '';
  if (scheme === 'tcp' && (!url.port || url.port === '0' || !bare))
    return 'This endpoint must be tcp://host:port, and no more.';
  if (scheme === 'dns' && (url.port || !bare)) return 'This endpoint must be dns://name, and no more.';
  return undefined;
}

const SCHEMES = ['http', 'https', 'tcp', 'dns'];
const EXAMPLES: Record<string, string> = {
  http: 'http://example.com/health',
  https: 'https://example.com/health',
  tcp: 'tcp://example.com:5432',
  dns: 'dns://example.com',
};
