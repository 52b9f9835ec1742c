import { z } from 'zod';
import { HEARTBEAT_TIMEOUT_SECONDS_MAX, STOP_GRACE_SECONDS_MAX } from '../limits.ts';
import type { Problem } from '../problem.ts';
import * as body from './body-schema.ts';
import { capabilities } from './capabilities.ts';
import * as container from './container-schema.ts';
import * as heartbeat from './heartbeat-schema.ts';
import { environmentOf, headersOf, type Pair } from './pairs.ts';
import * as reach from './reach-schema.ts';
import { readLogin } from './registry-auth.ts';
import * as tls from './tls-schema.ts';
import { flag, oneOf, seconds, text } from './value-schema.ts';

/**
 * The one definition of the fields of each kind of payload: the keys of the JSON document
 * (snake_case), the values that they take, and their place in the printed document. The stored
 * types (payload.ts), the typed input (typed-input.ts) and the printed document (print.ts) follow
 * from these tables. The compiler compares GraphQL's input and definition types with them
 * (api/schema/heartbeat-payload.ts, container-payload.ts). docs/internals/payloads.md says how to
 * add a field.
 */
export function heartbeatFields() {
  return {
    endpoint: field(1, heartbeat.endpoint),
    method: field(2, oneOf(heartbeat.HTTP_METHODS, 'The method'), HTTP),
    headers: field(3, pairs(headersOf), HTTP),
    body: field(4, text('The body'), HTTP),
    expected_status: field(5, heartbeat.expectedStatus, HTTP),
    body_contains: field(6, text('The text to look for'), HTTP),
    timeout_seconds: field(8, seconds('The time-out', heartbeat.HEARTBEAT_SECONDS_MIN, HEARTBEAT_TIMEOUT_SECONDS_MAX)),
    follow_redirects: field(7, flag('follow_redirects'), HTTP),
    expected_status_ranges: field(10, heartbeat.expectedStatusRanges, HTTP),
    body_not_contains: field(11, text('The text that must not appear'), HTTP),
    body_matches: field(14, body.bodyMatches, HTTP),
    body_json: field(15, body.bodyJson, HTTP),
    websocket: field(16, flag('websocket'), HTTP),
    http_version: field(17, oneOf(heartbeat.HTTP_VERSIONS, 'The version of HTTP'), HTTP),
    max_redirects: field(12, heartbeat.maxRedirects, HTTP),
    headers_only: field(13, flag('headers_only'), HTTP),
    min_tls_days_left: field(9, heartbeat.tlsDaysLeft, HTTPS),
    tls_verify: field(20, flag('tls_verify'), HTTPS),
    tls_ca: field(21, tls.authorities, HTTPS),
    client_certificate: field(22, tls.clientCertificate, HTTPS),
    tls_server_name: field(23, reach.tlsServerName, HTTPS),
    host_header: field(24, reach.hostHeader, HTTP),
    connect_to: field(25, reach.connectTo, HTTP),
    proxy: field(26, reach.proxy, HTTP),
    proxy_auth: field(27, login('The login of the proxy'), HTTP),
    dns_record_type: field(30, oneOf(heartbeat.DNS_RECORD_TYPES, 'The type of record'), DNS),
    dns_expected_values: field(31, heartbeat.dnsExpectedValues, DNS),
    dns_server: field(32, heartbeat.dnsServer, DNS),
    tcp_send: field(33, heartbeat.tcpText('The text to send'), TCP),
    tcp_expect: field(34, heartbeat.tcpText('The text to expect'), TCP),
    push: field(40, heartbeat.push),
  };
}

export function containerFields({ maxJobSeconds, maxResources }: FieldLimits) {
  return {
    image: field(1, container.image),
    build: field(11, container.build),
    command: field(2, container.command),
    args: field(3, container.args),
    env: field(4, pairs(environmentOf)),
    working_dir: field(5, container.workingDir),
    timeout_seconds: field(
      6,
      seconds('The time-out', 1, maxJobSeconds).refine(
        Number.isInteger,
        'The time-out must be a whole number of seconds.',
      ),
    ),
    volumes: field(7, container.volumes),
    resources: field(8, container.resources(maxResources)),
    network: field(9, oneOf(container.CONTAINER_NETWORKS, 'The network')),
    registry_auth: field(10, login('The login of the registry')),
    pull_policy: field(12, oneOf(container.PULL_POLICIES, 'The pull policy')),
    user: field(20, container.user),
    network_name: field(23, container.networkName),
    capabilities: field(24, capabilities),
    stop_signal: field(21, container.stopSignal),
    stop_grace_seconds: field(
      22,
      seconds('The grace', 0, STOP_GRACE_SECONDS_MAX).refine(
        Number.isInteger,
        'The grace must be a whole number of seconds.',
      ),
    ),
  };
}

/** What the operator allows: it bounds the values that a payload may have. */
export interface FieldLimits {
  maxJobSeconds: number;
  maxResources: container.ResourceMaximums;
}

interface FieldFacts {
  /** Where the key stands in the printed document. */
  position: number;
  /**
   * The scheme that the endpoint must have, or the field is refused. `http` stands for https too.
   */
  needs?: 'http' | 'https' | 'dns' | 'tcp';
}

const HTTP = { needs: 'http' } as const;
const HTTPS = { needs: 'https' } as const;
const DNS = { needs: 'dns' } as const;
const TCP = { needs: 'tcp' } as const;
const facts = z.registry<FieldFacts>();

/** A field. Every field may be left out. */
function field<Schema extends z.ZodType>(position: number, schema: Schema, more: Omit<FieldFacts, 'position'> = {}) {
  const optional = schema.optional();
  facts.add(optional, { position, ...more });
  return optional;
}

/** What the table says about a field. */
export function factsOf(schema: z.core.$ZodType): FieldFacts | undefined {
  return facts.get(schema);
}

/** Names with values. They come as a list, so that a name that is written twice stays visible. */
function pairs(problemsOf: (list: Pair[]) => Problem[]) {
  return z.array(z.custom<Pair>()).superRefine((list, context) => report(context, problemsOf(list)));
}

function login(subject: string) {
  return z.unknown().transform((written, context) => {
    const { value, problems } = readLogin(written, subject);
    if (problems) report(context, problems);
    return value ?? z.NEVER;
  });
}

function report(context: z.RefinementCtx, problems: Problem[]): void {
  for (const { path, message } of problems) context.addIssue({ code: 'custom', path, message });
}
