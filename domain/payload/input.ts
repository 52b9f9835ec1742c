import type { z } from 'zod';
import { CONTAINER_RESOURCES_MAX, PAYLOAD_BYTES_MAX } from '../limits.ts';
import { below, type Parsed, type Problem } from '../problem.ts';
import { WORKFLOW_KINDS, type WorkflowKind } from '../states.ts';
import { didYouMean } from '../suggest.ts';
import {
  BUILDS_REFUSED,
  CONTAINER_POLICY,
  type ContainerPolicy,
  capabilitiesProblem,
  networkProblem,
  sharedNetworkProblem,
} from './container-policy.ts';
import type { ResourceMaximums } from './container-schema.ts';
import { jsonFault } from './json-fault.ts';
import { namesInText } from './names-in-text.ts';
import { inOrder, orderOf, PAIRS_KEYS, type Pair, pairsRecord, writtenSecret } from './pairs.ts';
import type { ContainerPayload, GivenPayload } from './payload.ts';
import { payloadSchemas, shapeOf } from './schema.ts';
import { camelCase, containerDocument, type Document, heartbeatDocument, type PayloadInput } from './typed-input.ts';
import { typeName } from './value-schema.ts';

export interface PayloadLimits {
  maxJobSeconds: number;
  maxResources?: ResourceMaximums;
  policy?: ContainerPolicy;
}

/**
 * The payload that `input` describes, or everything that is wrong with it. Paths begin at the
 * fields of `input`.
 */
export function parsePayload(input: PayloadInput, limits: PayloadLimits): Parsed<GivenPayload> {
  const { heartbeat, container, json } = input;
  const given = [heartbeat, container, json].filter((alternative) => alternative !== undefined && alternative !== null);
  if (given.length !== 1)
    return { problems: [{ path: [], message: 'Give exactly one of "heartbeat", "container" and "json".' }] };
  if (heartbeat) return named('heartbeat', parseDocument('HEARTBEAT', heartbeatDocument(heartbeat), limits));
  if (container) return named('container', parseDocument('CONTAINER', containerDocument(container), limits));
  return named('json', parseJson(json ?? '', limits));
}

/**
 * Does the same for the JSON document that `Workflow.payload` gives. Paths go on into the document.
 */
function parseJson(text: string, limits: PayloadLimits): Parsed<GivenPayload> {
  if (Buffer.byteLength(text) > PAYLOAD_BYTES_MAX)
    return one(`The document must be at most ${PAYLOAD_BYTES_MAX} bytes.`);
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    // Node's words are for programmers, and quote a piece of the document, which may hold a secret.
    return one(`The document must be valid JSON, like {"kind":"HEARTBEAT"}: ${jsonFault(text)}.`);
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
  for (const key of PAIRS_KEYS) {
    const written = entries.get(key);
    if (written === undefined) continue;
    if (typeof written === 'object' && written !== null && !Array.isArray(written)) {
      entries.set(
        key,
        inOrder<unknown>(Object.entries(written), namesInText(text, key)).map(([name, value]): Pair => {
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

/**
 * Checks a document whose environment and headers are lists of pairs, and returns its stored form.
 */
function parseDocument(kind: WorkflowKind, document: Document, limits: PayloadLimits): Parsed<GivenPayload> {
  const schemas = schemasFor(limits);
  if (kind === 'HEARTBEAT') {
    const { data, error } = schemas.HEARTBEAT.safeParse(document);
    if (error) return { problems: problemsOf(error, schemas.HEARTBEAT) };
    const headers = data.headers && pairsRecord(data.headers);
    return bounded({ ...data, headers, order: orderOf('headers', data.headers) });
  }
  const { data, error } = schemas.CONTAINER.safeParse(document);
  if (error) return { problems: problemsOf(error, schemas.CONTAINER) };
  if (data.image === undefined && data.build === undefined)
    return { problems: [{ path: ['image'], message: 'The image is missing: give "image" or "build".' }] };
  if (data.image !== undefined && data.build !== undefined)
    return { problems: [{ path: ['build'], message: 'Give "image" or "build", not both.' }] };
  if (data.network !== undefined && data.network_name !== undefined)
    return { problems: [{ path: ['network_name'], message: 'Give "network" or "network_name", not both.' }] };
  const refused = refusals(data, limits.policy ?? CONTAINER_POLICY);
  if (refused.length > 0) return { problems: refused };
  const env = data.env && pairsRecord(data.env);
  return bounded({ ...data, env, order: orderOf('env', data.env) });
}

/** Problems with what the operator does not allow. */
function refusals(
  {
    network,
    network_name: name,
    capabilities,
    build,
  }: Pick<ContainerPayload, 'network' | 'network_name' | 'capabilities' | 'build'>,
  policy: ContainerPolicy,
): Problem[] {
  const refused: [key: string, message: string | undefined][] = [
    ['network', networkProblem(network, policy)],
    ['network_name', sharedNetworkProblem(name, policy)],
    ['capabilities', capabilitiesProblem(capabilities, policy)],
    ['build', build === undefined || policy.buildsAllowed ? undefined : BUILDS_REFUSED],
  ];
  return refused.flatMap(([key, message]) => (message === undefined ? [] : [{ path: [key], message }]));
}

// The key is made of the operator's settings, so a process has one entry.
const schemasByMaximum = new Map<string, ReturnType<typeof payloadSchemas>>();

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

function problemsOf(error: z.ZodError, schema: z.core.$ZodType): Problem[] {
  return error.issues.flatMap((issue): Problem[] => {
    const path = issue.path.map(String);
    if (issue.code !== 'unrecognized_keys') return [{ path, message: issue.message }];
    const keys = issue.path.filter((step) => typeof step === 'string');
    const at = keys.reduce((within: z.core.$ZodType | undefined, key) => shapeOf(within)?.[key], schema);
    const known = Object.keys(shapeOf(at) ?? {});
    return issue.keys.map((key) => ({
      path: [...path, key],
      message: `"${key}" is not a key of this document.${didYouMean(key, known) || ` Known are ${known.join(', ')}.`}`,
    }));
  });
}

/**
 * Leaves out what is absent or empty, so that equal payloads are stored alike. It refuses a payload
 * that is too large. The order does not count, because it only repeats the names.
 */
function bounded<T extends GivenPayload>(payload: T): Parsed<T> {
  for (const [key, value] of Object.entries(payload)) {
    if (key === 'push') continue; // an empty one has its defaults
    if (value === undefined || (typeof value === 'object' && Object.keys(value).length === 0))
      Reflect.deleteProperty(payload, key);
  }
  const { order: _, ...rest } = payload;
  const isSmall = Buffer.byteLength(JSON.stringify(rest)) <= PAYLOAD_BYTES_MAX;
  return isSmall ? { value: payload } : one(`The payload must be at most ${PAYLOAD_BYTES_MAX} bytes.`);
}

function one(message: string): { problems: Problem[] } {
  return { problems: [{ path: [], message }] };
}

/**
 * Puts the paths below the name of the alternative. The keys of the document become the fields of
 * the typed input.
 */
function named(alternative: 'heartbeat' | 'container' | 'json', parsed: Parsed<GivenPayload>): Parsed<GivenPayload> {
  if (!parsed.problems) return parsed;
  if (alternative === 'json') return { problems: below(['json'], parsed.problems) };
  const problems = parsed.problems.map(({ path, message }) => ({ path: path.map(camelCase), message }));
  return { problems: below([alternative], problems) };
}
