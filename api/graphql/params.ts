import type { GraphQLError } from 'graphql';
import { failure, shortened } from '../errors.ts';
import { jsonProblem } from './json-size.ts';

/** What a request or a message asks for, as it was sent. */
export interface Params {
  query: string;
  operationName?: string | undefined;
  variables?: Record<string, unknown> | undefined;
  extensions?: Record<string, unknown> | undefined;
}

/** Parses a text as JSON. `what` begins the sentence of the error. Throws BAD_REQUEST. */
export function parseJson(what: string, text: string): unknown {
  const problem = jsonProblem(text);
  if (problem) throw badRequest(problem);
  try {
    return JSON.parse(text);
  } catch {
    throw badRequest(`${what} must be JSON, and this does not parse as JSON.`);
  }
}

/**
 * Reads the parameters of a URL or a form, in which `variables` and `extensions` are JSON. Throws
 * BAD_REQUEST.
 */
export function paramsOfQuery(text: string): Params {
  const given = new URLSearchParams(text);
  const twice = NAMES.find((name) => given.getAll(name).length > 1);
  if (twice) throw badRequest(`Give \`${twice}\` once, not several times.`);
  const json = (name: string) => {
    const value = given.get(name);
    return value ? parseJson(`\`${name}\``, value) : undefined;
  };
  return paramsOf({
    query: given.get('query') ?? undefined,
    operationName: given.get('operationName'),
    variables: json('variables'),
    extensions: json('extensions'),
  });
}

/**
 * Checks what a client sent as an operation. Throws BAD_REQUEST, or what tells a client with
 * persisted queries to send the document instead.
 */
export function paramsOf(sent: unknown): Params {
  if (Array.isArray(sent)) throw badRequest('Send one operation a request: lists of operations are not supported.');
  if (!isRecord(sent)) throw badRequest('An operation must be an object like {"query": "{ viewer { email } }"}.');
  const { query, operationName, variables, extensions } = sent;
  const unknown = Object.keys(sent).find((name) => !NAMES.includes(name) && sent[name] !== null);
  if (unknown !== undefined)
    throw badRequest(`There is no parameter ${JSON.stringify(shortened(unknown))}, only ${NAMES.join(', ')}.`);
  if (!isAbsent(extensions) && !isRecord(extensions)) throw badRequest('`extensions` must be an object.');
  if (!query && !isAbsent(extensions?.persistedQuery)) throw notPersisted();
  if (isAbsent(query)) throw badRequest('`query` is missing: it must be a GraphQL document.');
  if (typeof query !== 'string') throw badRequest('`query` must be text: a GraphQL document.');
  if (!isAbsent(variables) && !isRecord(variables)) throw badRequest('`variables` must be an object.');
  if (!isAbsent(operationName) && typeof operationName !== 'string')
    throw badRequest('`operationName` must be text: the name of an operation in the document.');
  return {
    query,
    operationName: operationName || undefined, // an empty name is none, as in a URL
    variables: variables ?? undefined,
    extensions: extensions ?? undefined,
  };
}

const NAMES = ['query', 'operationName', 'variables', 'extensions'];

/**
 * Answers a client that sends the hash of a document in place of the document, as Apollo's and
 * urql's do. They look for this message or this code, and send the document next.
 */
function notPersisted(): GraphQLError {
  return failure('PERSISTED_QUERY_NOT_SUPPORTED', 'PersistedQueryNotSupported', { http: { status: 200 } });
}

function badRequest(message: string): GraphQLError {
  return failure('BAD_REQUEST', message, { http: { status: 400 } });
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isAbsent(value: unknown): value is null | undefined {
  return value === undefined || value === null;
}
