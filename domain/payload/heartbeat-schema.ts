import { z } from 'zod';
import { didYouMean } from '../suggest.ts';
import { text, typeError } from './value-schema.ts';

/** What values a HEARTBEAT's fields take. Messages are whole sentences. */

export const HTTP_METHODS = ['GET', 'HEAD', 'POST', 'PUT'] as const;
export type HttpMethod = (typeof HTTP_METHODS)[number];

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

const TLS_DAYS_MAX = 3_650;
const tlsDaysBounds = `The days that a certificate must have left must be a whole number from 0 to ${TLS_DAYS_MAX}.`;
export const tlsDaysLeft = z
  .number({ error: typeError('The days that a certificate must have left', 'a number') })
  .refine((days) => Number.isInteger(days) && days >= 0 && days <= TLS_DAYS_MAX, tlsDaysBounds);

function endpointProblem(value: string): string | undefined {
  if (value.length > ENDPOINT_LENGTH_MAX) return `The endpoint must have at most ${ENDPOINT_LENGTH_MAX} characters.`;
  if (/\s/.test(value)) return 'The endpoint must not contain white space.';
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(value)?.[1]?.toLowerCase() ?? '';
  if (!SCHEMES.includes(scheme)) {
    return `The endpoint must begin with http://, https://, tcp:// or dns://.${didYouMean(scheme, SCHEMES)}`;
  }
  const url = URL.canParse(value) ? new URL(value) : undefined;
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
