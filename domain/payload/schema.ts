import { z } from 'zod';
import { imageProblem } from '../images/image-reference.ts';
import { HEARTBEAT_TIMEOUT_SECONDS_MAX, PAYLOAD_BYTES_MAX } from '../limits.ts';
import { didYouMean } from '../nearest.ts';
import {
  buildSchema,
  networkSchema,
  type ResourceMaximums,
  resourcesSchema,
  volumesSchema,
} from './container-schema.ts';
import { environmentOf, headersOf, type Pair } from './pairs.ts';
import { HTTP_METHODS } from './payload.ts';
import { readRegistryAuth } from './registry-auth.ts';
import { flag, oneOf, seconds, shown, text, typeError } from './value-schema.ts';

/**
 * The rules of a payload, for the typed input and the JSON document alike. Environment and headers come as lists of pairs here,
 * whatever they were written as, so that what is written twice can be seen. Messages are whole sentences.
 */
export function payloadSchemas({
  maxJobSeconds,
  maxResources,
}: {
  maxJobSeconds: number;
  maxResources: ResourceMaximums;
}) {
  const heartbeat = z
    .strictObject({
      kind: z.literal('HEARTBEAT'),
      endpoint: endpoint.optional(),
      method: oneOf(HTTP_METHODS, 'The method').optional(),
      headers: pairs.superRefine((list, context) => report(context, headersOf(list))).optional(),
      body: text('The body').optional(),
      expected_status: expectedStatus.optional(),
      body_contains: text('The text to look for').optional(),
      timeout_seconds: seconds('The time-out', HEARTBEAT_SECONDS_MIN, HEARTBEAT_TIMEOUT_SECONDS_MAX).optional(),
      follow_redirects: flag('follow_redirects').optional(),
      min_tls_days_left: tlsDays.optional(),
    })
    .superRefine(checkApplies);

  const container = z.strictObject({
    kind: z.literal('CONTAINER'),
    image: z
      .string({ error: typeError('The image', 'text') })
      .superRefine((image, context) => {
        const problem = imageProblem(image);
        if (problem) context.addIssue({ code: 'custom', message: `The image ${shown(image)} ${problem}.` });
      })
      .optional(),
    build: buildSchema.optional(),
    command: z
      .array(text('Each part of the command'), { error: typeError('The command', 'a list of texts') })
      .optional(),
    args: z.array(text('Each argument'), { error: typeError('args', 'a list of texts') }).optional(),
    env: pairs.superRefine((list, context) => report(context, environmentOf(list))).optional(),
    working_dir: text('The working directory')
      .refine((path) => path.startsWith('/'), 'The working directory must be an absolute path, like "/app".')
      .refine(
        (path) => path.length <= PATH_LENGTH_MAX,
        `The working directory must have at most ${PATH_LENGTH_MAX} characters.`,
      )
      .optional(),
    timeout_seconds: seconds('The time-out', 1, maxJobSeconds)
      .refine(Number.isInteger, 'The time-out must be a whole number of seconds.')
      .optional(),
    volumes: volumesSchema.optional(),
    resources: resourcesSchema(maxResources).optional(),
    network: networkSchema.optional(),
    registry_auth: z
      .unknown()
      .transform((written, context) => {
        const { value, problems } = readRegistryAuth(written);
        if (problems) report(context, problems);
        return value ?? z.NEVER;
      })
      .optional(),
  });

  return { HEARTBEAT: heartbeat, CONTAINER: container };
}

export const HEARTBEAT_SECONDS_MIN = 0.1;
const ENDPOINT_LENGTH_MAX = 2048;
const PATH_LENGTH_MAX = 4096;
const STATUSES_MAX = 50;

const pairs = z.array(z.custom<Pair>());

const endpoint = text('The endpoint').superRefine((value, context) => {
  const problem = endpointProblem(value);
  if (problem) context.addIssue({ code: 'custom', message: problem });
});

const expectedStatus = z
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
const tlsDays = z
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

/** What is said of an HTTP request means nothing to the other checks: it is refused rather than ignored. */
function checkApplies(payload: Record<string, unknown>, context: z.RefinementCtx): void {
  const { endpoint: url, method, body, body_contains: contained, min_tls_days_left: days } = payload;
  if (days !== undefined && !(typeof url === 'string' && /^https:/i.test(url))) {
    context.addIssue({
      code: 'custom',
      path: ['min_tls_days_left'],
      message: 'This needs an endpoint that is https://: no other has a certificate.',
    });
  }
  if (typeof url !== 'string' || !/^https?:/i.test(url)) {
    for (const key of HTTP_ONLY.filter((name) => payload[name] !== undefined)) {
      context.addIssue({ code: 'custom', path: [key], message: 'This needs an endpoint that is http:// or https://.' });
    }
    return;
  }
  if (body !== undefined && method !== 'POST' && method !== 'PUT') {
    context.addIssue({ code: 'custom', path: ['body'], message: 'A body needs the method POST or PUT.' });
  }
  if (contained !== undefined && method === 'HEAD') {
    context.addIssue({ code: 'custom', path: ['body_contains'], message: 'The answer to HEAD has no body: use GET.' });
  }
}

const HTTP_ONLY = ['method', 'headers', 'body', 'expected_status', 'body_contains', 'follow_redirects'];

function report(context: z.RefinementCtx, problems: { path: string[]; message: string }[]): void {
  for (const { path, message } of problems) context.addIssue({ code: 'custom', path, message });
}

/** Whether `payload` is within the bound on what is stored. */
export function isWithinBytes(payload: object): boolean {
  return Buffer.byteLength(JSON.stringify(payload)) <= PAYLOAD_BYTES_MAX;
}
