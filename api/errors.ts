import { randomUUID } from 'node:crypto';
import { GraphQLError, type GraphQLFormattedError } from 'graphql';
import type { Logger } from 'pino';
import { REQUEST_BYTES_MAX } from '../domain/limits.ts';
import { isOutage } from '../platform/postgres/outage.ts';

/**
 * The codes of errors outside of `userErrors`. The engine adds GRAPHQL_PARSE_FAILED and
 * GRAPHQL_VALIDATION_FAILED for documents.
 */
export type ErrorCode =
  | 'UNAUTHENTICATED'
  | 'FORBIDDEN'
  | 'NOT_FOUND'
  | 'BAD_REQUEST'
  | 'GONE' // only for log downloads
  | 'RATE_LIMITED'
  | 'UNAVAILABLE'
  | 'OPERATION_RESOLUTION_FAILURE'
  | 'REQUEST_ENTITY_TOO_LARGE'
  | 'PERSISTED_QUERY_NOT_SUPPORTED'
  | 'INTERNAL_SERVER_ERROR';

/** An error that the caller may see. `message` is a sentence. */
export function failure(code: ErrorCode, message: string, extensions: Record<string, unknown> = {}): GraphQLError {
  return new GraphQLError(message, { extensions: { code, ...extensions } });
}

/** A text of the caller for a message, shortened if it is long. */
export function shortened(text: string): string {
  return text.length > SHOWN_LENGTH_MAX ? `${text.slice(0, SHOWN_LENGTH_MAX)}...` : text;
}

const SHOWN_LENGTH_MAX = 100;

/**
 * The error for a caller who is over a limit. It says when to try again, to programs in the header
 * Retry-After too. `status` is that of the whole answer: a resolver gives none, because other
 * fields of the answer may have succeeded.
 */
export function rateLimited(
  message: string,
  { retryAfterSeconds = 1, status }: { retryAfterSeconds?: number; status?: 429 | 503 },
): GraphQLError {
  const headers = { 'retry-after': String(retryAfterSeconds) };
  const http = status === undefined ? { headers } : { status, headers };
  return failure('RATE_LIMITED', message, { retryAfterSeconds, http });
}

/** `error` without its HTTP status and headers, which mean nothing within a stream. */
export function withoutHttp(error: GraphQLError | GraphQLFormattedError): GraphQLError {
  const { http: _, ...extensions } = error.extensions ?? {};
  if (!(error instanceof GraphQLError)) return new GraphQLError(error.message, { extensions });
  const { message, path, nodes, source, positions } = error;
  return new GraphQLError(message, { path, nodes, source, positions, extensions });
}

export function unauthenticated(): GraphQLError {
  return failure('UNAUTHENTICATED', 'Sign in first: send a valid token.', { http: { status: 401, spec: true } });
}

/**
 * The row that a key points to. It is missing only if it was purged between two reads: then throws
 * NOT_FOUND.
 */
export function orNotFound<Row>(row: Row | undefined): Row {
  if (row === undefined) throw failure('NOT_FOUND', 'The object that this belongs to was purged while it was read.');
  return row;
}

/**
 * Turns anything thrown into an error that the caller may see. Unexpected errors are logged and
 * hidden behind a request id. A database outage is reported as UNAVAILABLE, because trying again
 * helps.
 */
export function maskErrors(log: Logger): (error: unknown) => GraphQLError {
  return (error) => {
    const located = error instanceof GraphQLError ? error : undefined;
    const cause = rootCause(error);
    if (cause instanceof GraphQLError) {
      if (cause.extensions.code === 'REQUEST_ENTITY_TOO_LARGE') return bodyTooLarge();
      if (typeof cause.extensions.code === 'string') return located ?? cause;
      // An invalid value of an argument.
      if (!located?.path || cause.nodes) return coded(located ?? cause, 'BAD_REQUEST', placed(located, cause));
    }
    if (isOutage(cause)) {
      log.warn({ err: located?.originalError ?? error }, 'A request failed, because the database cannot be reached.');
      return coded(located, 'UNAVAILABLE', 'The database cannot be reached right now: try again soon.');
    }
    const refusal = STATEMENT_REFUSALS.get(stateOf(cause));
    if (refusal !== undefined) {
      log.warn({ err: cause, path: located?.path }, 'A statement of an answer took too long, or could not be sent.');
      return coded(located, 'UNAVAILABLE', refusal);
    }
    const requestId = randomUUID();
    log.error({ requestId, path: located?.path, err: cause }, 'A request failed unexpectedly.');
    return coded(
      located,
      'INTERNAL_SERVER_ERROR',
      'Something failed on the server. Its log has the details under the request id.',
      {
        requestId,
      },
    );
  };
}

function stateOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

const STATEMENT_REFUSALS = new Map([
  ['57014', 'The database took too long for this: try again soon, or ask for fewer objects.'], // query_canceled
  // in_failed_sql_transaction
  ['25P02', 'Another part of this answer failed, so this part was not read: ask for it again.'],
]);

function bodyTooLarge(): GraphQLError {
  const message = `The body of a request may have ${REQUEST_BYTES_MAX.toLocaleString('en')} bytes: send less at once.`;
  return failure('REQUEST_ENTITY_TOO_LARGE', message, { http: { status: 413 } });
}

/**
 * The problem of a variable and its place, like `$input.payload.heartbeat.headers[0].name: ...`.
 * graphql's own sentence also quotes the value, which may be a password.
 */
function placed(located: GraphQLError | undefined, { message }: GraphQLError): string {
  if (located === undefined || !located.message.endsWith(`; ${message}`)) return message;
  const head = located.message.slice(0, -message.length);
  const [, name] = /^Variable "\$(\w+)" got invalid value /.exec(head) ?? [];
  if (name === undefined) return message;
  const [, place = name] = / at "([^"]*)"; $/.exec(head) ?? [];
  return `$${place}: ${message}`;
}

function coded(
  located: GraphQLError | undefined,
  code: ErrorCode,
  message: string,
  extensions: Record<string, unknown> = {},
): GraphQLError {
  const status = code === 'BAD_REQUEST' ? 400 : code === 'UNAVAILABLE' ? 503 : 500;
  return new GraphQLError(message, {
    nodes: located?.nodes,
    path: located?.path,
    extensions: { code, ...extensions, ...(located?.path ? {} : { http: { status, spec: true } }) },
  });
}

/** The error below the wrappers of graphql and of the query builder. */
function rootCause(error: unknown): unknown {
  let cause = error;
  for (let depth = 0; depth < 10; depth += 1) {
    if (cause instanceof GraphQLError && cause.originalError) cause = cause.originalError;
    else if (cause instanceof AggregateError && cause.errors[0] instanceof Error) cause = cause.errors[0];
    else if (cause instanceof Error && !(cause instanceof GraphQLError) && cause.cause instanceof Error)
      cause = cause.cause;
    else break;
  }
  return cause;
}
