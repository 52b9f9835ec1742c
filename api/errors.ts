import { randomUUID } from 'node:crypto';
import { GraphQLError } from 'graphql';
import type { Logger } from 'pino';
import { isOutage } from '../db/connection-check.ts';

/**
 * The codes of errors outside of `userErrors`. Documents that do not parse or validate have codes
 * of graphql's own.
 */
export type ErrorCode =
  | 'UNAUTHENTICATED'
  | 'FORBIDDEN'
  | 'NOT_FOUND'
  | 'BAD_REQUEST'
  | 'GONE' // only for log downloads
  | 'RATE_LIMITED'
  | 'UNAVAILABLE'
  | 'INTERNAL_SERVER_ERROR';

/** An error that the caller may see. `message` is a sentence. */
export function failure(code: ErrorCode, message: string, extensions: Record<string, unknown> = {}): GraphQLError {
  return new GraphQLError(message, { extensions: { code, ...extensions } });
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
      if (typeof cause.extensions.code === 'string') return located ?? cause;
      // An invalid value of an argument.
      if (!located?.path || cause.nodes) return coded(located ?? cause, 'BAD_REQUEST', placed(located, cause));
    }
    if (isOutage(cause)) {
      log.warn({ err: cause }, 'The database cannot be reached.');
      return coded(located, 'UNAVAILABLE', 'The database cannot be reached right now: try again soon.');
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
