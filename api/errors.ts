import { randomUUID } from 'node:crypto';
import { GraphQLError } from 'graphql';
import type { Logger } from 'pino';
import { isOutage } from '../db/connection-check.ts';

/** The codes of errors that are no data (`userErrors` are): beside these only those for text that does not parse or validate. */
export type ErrorCode =
  | 'UNAUTHENTICATED'
  | 'FORBIDDEN'
  | 'NOT_FOUND'
  | 'BAD_REQUEST'
  | 'GONE' // over HTTP alone
  | 'RATE_LIMITED'
  | 'UNAVAILABLE'
  | 'INTERNAL_SERVER_ERROR';

/** An error for the caller to see. `message` is a sentence. */
export function failure(code: ErrorCode, message: string, extensions: Record<string, unknown> = {}): GraphQLError {
  return new GraphQLError(message, { extensions: { code, ...extensions } });
}

export function unauthenticated(): GraphQLError {
  return failure('UNAUTHENTICATED', 'Sign in first: send a valid token.', { http: { status: 401, spec: true } });
}

/** What a row's key promises to be there. It is not where it was purged between two reads. */
export function orNotFound<Row>(row: Row | undefined): Row {
  if (row === undefined) throw failure('NOT_FOUND', 'What this belongs to was purged while it was read.');
  return row;
}

/**
 * Makes of whatever was thrown what the caller may see. What we did not mean to throw is hidden behind a request id, under which it
 * stands in the log; a database that is away is told as that, because trying again is what helps.
 */
export function maskErrors(log: Logger): (error: unknown) => GraphQLError {
  return (error) => {
    const located = error instanceof GraphQLError ? error : undefined;
    const cause = rootCause(error);
    if (cause instanceof GraphQLError) {
      if (typeof cause.extensions.code === 'string') return located ?? cause;
      if (!located?.path || cause.nodes) return coded(located ?? cause, 'BAD_REQUEST', placed(located, cause)); // values for arguments
    }
    if (isOutage(cause)) {
      log.warn({ err: cause }, 'The database cannot be reached.');
      return coded(located, 'UNAVAILABLE', 'The database cannot be reached right now: try again soon.');
    }
    const requestId = randomUUID();
    log.error({ requestId, path: located?.path, err: cause }, 'A request failed in a way that it should not.');
    return coded(
      located,
      'INTERNAL_SERVER_ERROR',
      'Something failed on our side; the log has it under the request id.',
      {
        requestId,
      },
    );
  };
}

/**
 * What is wrong with the value of a variable, and where: `$input.payload.heartbeat.headers[0].name: ...`. graphql has that in its own sentence,
 * together with the value, which may hold a password.
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

/** What lies below the wrappers of graphql and of the query builder. */
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
