import type { z } from 'zod';
import { CONTAINER_RESOURCES_MAX, PAYLOAD_BYTES_MAX } from '../limits.ts';
import { didYouMean } from '../nearest.ts';
import { below, type Parsed, type Problem } from '../problem.ts';
import { WORKFLOW_KINDS, type WorkflowKind } from '../states.ts';
import { BUILDS_REFUSED, CONTAINER_POLICY, type ContainerPolicy, networkProblem } from './container-policy.ts';
import { NESTED_KEYS, type ResourceMaximums } from './container-schema.ts';
import { type Pair, pairsRecord, writtenSecret } from './pairs.ts';
import type { ContainerNetwork, ContainerPayload, GivenPayload, HttpMethod } from './payload.ts';
import { isWithinBytes, payloadSchemas } from './schema.ts';
import { typeName } from './value-schema.ts';

/** A payload as GraphQL gives it: one of the three. */
export interface PayloadInput {
  heartbeat?: HeartbeatInput | null;
  container?: ContainerInput | null;
  json?: string | null;
}

export interface HeartbeatInput {
  endpoint?: string | null;
  method?: HttpMethod | null;
  headers?: PairInput[] | null;
  body?: string | null;
  expectedStatus?: number[] | null;
  bodyContains?: string | null;
  timeoutSeconds?: number | null;
  followRedirects?: boolean | null;
  minTlsDaysLeft?: number | null;
}

export interface ContainerInput {
  image?: string | null;
  build?: { dockerfile: string; files?: { path: string; content: string }[] | null } | null;
  command?: string[] | null;
  args?: string[] | null;
  env?: PairInput[] | null;
  workingDir?: string | null;
  timeoutSeconds?: number | null;
  volumes?: { name: string; path: string; readOnly?: boolean | null }[] | null;
  resources?: { cpus?: number | null; memoryMb?: number | null; pids?: number | null } | null;
  network?: ContainerNetwork | null;
  registryAuth?: { username: string; password: string } | null;
}

export interface PairInput {
  name: string;
  value?: string | null;
  secret?: boolean | null;
}

export interface PayloadLimits {
  maxJobSeconds: number;
  maxResources?: ResourceMaximums;
  policy?: ContainerPolicy;
}

/** The payload that `input` describes, or everything that is wrong with it, with paths from the fields of `input` on. */
export function parsePayload(input: PayloadInput, limits: PayloadLimits): Parsed<GivenPayload> {
  const { heartbeat, container, json } = input;
  const given = [heartbeat, container, json].filter((alternative) => alternative !== undefined && alternative !== null);
  if (given.length !== 1)
    return { problems: [{ path: [], message: 'Give exactly one of "heartbeat", "container" and "json".' }] };
  if (heartbeat) return named('heartbeat', parseDocument('HEARTBEAT', heartbeatDocument(heartbeat), limits));
  if (container) return named('container', parseDocument('CONTAINER', containerDocument(container), limits));
  return named('json', parseJson(json ?? '', limits));
}

/** The same for the JSON document that `Workflow.payload` gives. Paths go on into the document. */
function parseJson(text: string, limits: PayloadLimits): Parsed<GivenPayload> {
  if (Buffer.byteLength(text) > PAYLOAD_BYTES_MAX)
    return one(`The document must be at most ${PAYLOAD_BYTES_MAX} bytes.`);
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    // Without the piece of the document that Node quotes: a secret may be in it.
    const words = error instanceof Error ? error.message : 'it cannot be read';
    const reason = words.replace(/, (\.\.\.)?".*"(\.\.\.)? is not valid JSON$/s, '').replace(/\.$/, '');
    return one(`The document must be valid JSON, like {"kind":"HEARTBEAT"}: ${reason}.`);
  }
  if (typeof document !== 'object' || document === null || Array.isArray(document)) {
    return one(`The document must be an object, like {"kind":"HEARTBEAT"}, not ${typeName(document)}.`);
  }
  const entries = new Map<string, unknown>(Object.entries(document));
  const kind = entries.get('kind');
  const known = WORKFLOW_KINDS.find((name) => name === kind);
  if (!known) {
    const hint = typeof kind === 'string' ? didYouMean(kind, WORKFLOW_KINDS) : '';
    return { problems: [{ path: ['kind'], message: `"kind" must be "HEARTBEAT" or "CONTAINER".${hint}` }] };
  }

  const problems: Problem[] = [];
  for (const key of ['env', 'headers']) {
    const written = entries.get(key);
    if (written === undefined) continue;
    if (typeof written === 'object' && written !== null && !Array.isArray(written)) {
      entries.set(
        key,
        Object.entries(written).map(([name, value]): Pair => {
          const secret = writtenSecret(value);
          return {
            name,
            value: secret === undefined ? value : secret.value,
            secret: secret !== undefined,
            nameAt: [name],
            valueAt: [name],
          };
        }),
      );
    } else {
      entries.delete(key);
      problems.push({
        path: [key],
        message: `"${key}" must be an object of names and values, not ${typeName(written)}.`,
      });
    }
  }
  const parsed = parseDocument(known, Object.fromEntries(entries), limits);
  return problems.length === 0 ? parsed : { problems: [...problems, ...(parsed.problems ?? [])] };
}

function heartbeatDocument(input: HeartbeatInput): Document {
  return {
    kind: 'HEARTBEAT',
    endpoint: input.endpoint ?? undefined,
    method: input.method ?? undefined,
    headers: typedPairs(input.headers),
    body: input.body ?? undefined,
    expected_status: input.expectedStatus ?? undefined,
    body_contains: input.bodyContains ?? undefined,
    timeout_seconds: input.timeoutSeconds ?? undefined,
    follow_redirects: input.followRedirects ?? undefined,
    min_tls_days_left: input.minTlsDaysLeft ?? undefined,
  };
}

function containerDocument(input: ContainerInput): Document {
  return {
    kind: 'CONTAINER',
    image: input.image ?? undefined,
    build: input.build ? { dockerfile: input.build.dockerfile, files: input.build.files ?? undefined } : undefined,
    command: input.command ?? undefined,
    args: input.args ?? undefined,
    env: typedPairs(input.env),
    working_dir: input.workingDir ?? undefined,
    timeout_seconds: input.timeoutSeconds ?? undefined,
    volumes: input.volumes?.map(({ name, path, readOnly }) => ({ name, path, read_only: readOnly ?? undefined })),
    resources: input.resources
      ? {
          cpus: input.resources.cpus ?? undefined,
          memory_mb: input.resources.memoryMb ?? undefined,
          pids: input.resources.pids ?? undefined,
        }
      : undefined,
    network: input.network ?? undefined,
    registry_auth: input.registryAuth ?? undefined,
  };
}

function typedPairs(pairs: PairInput[] | null | undefined): Pair[] | undefined {
  return pairs?.map(({ name, value, secret }, n) => ({
    name,
    value,
    secret: secret === true,
    nameAt: [String(n), 'name'],
    valueAt: [String(n), 'value'],
  }));
}

/** Checks a document whose environment and headers are lists of pairs, and gives it the shape that is stored. */
function parseDocument(kind: WorkflowKind, document: Document, limits: PayloadLimits): Parsed<GivenPayload> {
  const schemas = schemasFor(limits);
  if (kind === 'HEARTBEAT') {
    const { data, error } = schemas.HEARTBEAT.safeParse(document);
    if (error) return { problems: problemsOf(error, Object.keys(schemas.HEARTBEAT.shape)) };
    return bounded({ ...data, headers: data.headers && pairsRecord(data.headers) });
  }
  const { data, error } = schemas.CONTAINER.safeParse(document);
  if (error) return { problems: problemsOf(error, Object.keys(schemas.CONTAINER.shape)) };
  if (data.image === undefined && data.build === undefined)
    return { problems: [{ path: ['image'], message: 'The image is missing: give "image" or "build".' }] };
  if (data.image !== undefined && data.build !== undefined)
    return { problems: [{ path: ['build'], message: 'Give "image" or "build", not both.' }] };
  const refused = refusals(data, limits.policy ?? CONTAINER_POLICY);
  if (refused.length > 0) return { problems: refused };
  return bounded({ ...data, env: data.env && pairsRecord(data.env) });
}

/** What the operator does not allow. */
function refusals({ network, build }: Pick<ContainerPayload, 'network' | 'build'>, policy: ContainerPolicy): Problem[] {
  const problem = networkProblem(network, policy);
  return [
    ...(problem === undefined ? [] : [{ path: ['network'], message: problem }]),
    ...(build === undefined || policy.buildsAllowed ? [] : [{ path: ['build'], message: BUILDS_REFUSED }]),
  ];
}

type Document = Record<string, unknown>;

const schemasByMaximum = new Map<string, ReturnType<typeof payloadSchemas>>(); // operator's settings: one a process

function schemasFor({
  maxJobSeconds,
  maxResources = CONTAINER_RESOURCES_MAX,
}: PayloadLimits): ReturnType<typeof payloadSchemas> {
  const { cpus, memoryMb, pids } = maxResources;
  const key = [maxJobSeconds, cpus, memoryMb, pids].join();
  const schemas = schemasByMaximum.get(key) ?? payloadSchemas({ maxJobSeconds, maxResources });
  schemasByMaximum.set(key, schemas);
  return schemas;
}

function problemsOf(error: z.ZodError, ofDocument: string[]): Problem[] {
  return error.issues.flatMap((issue): Problem[] => {
    const path = issue.path.map(String);
    if (issue.code !== 'unrecognized_keys') return [{ path, message: issue.message }];
    const within = issue.path.filter((step) => typeof step === 'string').join('.');
    const known = within === '' ? ofDocument : (NESTED_KEYS[within] ?? []);
    return issue.keys.map((key) => ({
      path: [...path, key],
      message: `"${key}" is not a key of this document.${didYouMean(key, known) || ` Known are ${known.join(', ')}.`}`,
    }));
  });
}

/** Without what is absent or empty, so that equal payloads are stored alike; refused where it is too large. */
function bounded<T extends GivenPayload>(payload: T): Parsed<T> {
  for (const [key, value] of Object.entries(payload)) {
    if (value === undefined || (typeof value === 'object' && Object.keys(value).length === 0))
      Reflect.deleteProperty(payload, key);
  }
  return isWithinBytes(payload) ? { value: payload } : one(`The payload must be at most ${PAYLOAD_BYTES_MAX} bytes.`);
}

function one(message: string): { problems: Problem[] } {
  return { problems: [{ path: [], message }] };
}

/** Below the name of the alternative; the keys of the document become the fields of the typed input. */
function named(alternative: 'heartbeat' | 'container' | 'json', parsed: Parsed<GivenPayload>): Parsed<GivenPayload> {
  if (!parsed.problems) return parsed;
  if (alternative === 'json') return { problems: below(['json'], parsed.problems) };
  const camel = (key: string) => key.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
  const problems = parsed.problems.map(({ path, message }) => ({ path: path.map(camel), message }));
  return { problems: below([alternative], problems) };
}
