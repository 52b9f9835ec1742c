import type { ExecutionResult, GraphQLError } from 'graphql';
import { EndableIterator } from '../../platform/async/iterator.ts';

/** The key of a result's id: its cursor. JSON leaves it out. */
export const EVENT_ID = Symbol('the id of an event');

/** A result of a subscription, with its cursor if the subscription can be resumed after it. */
export type StreamResult = ExecutionResult & { [EVENT_ID]?: string };

/** The last result of a stream that a shutdown ends. No client sees it. */
export const INTERRUPTED: StreamResult = Object.freeze({});

/**
 * The results of one subscription, which the server can end at any moment with an error as the last
 * result.
 */
export class GuardedStream extends EndableIterator<StreamResult> {
  /** `mask` logs an error and returns what the client may see of it. */
  constructor(results: AsyncIterable<StreamResult>, mask: (error: unknown) => GraphQLError) {
    super(results, (error) => ({ errors: [mask(error)] }));
  }

  /** Ends the stream now, with `error` as its last result. */
  fail(error: GraphQLError): void {
    this.end({ errors: [error] });
  }

  /** Ends the stream now, though it is not complete: the client is to subscribe again. */
  interrupt(): void {
    this.end(INTERRUPTED);
  }
}

/** Masks the errors of a result. Errors that are already masked stay as they are. */
export function maskResult(result: ExecutionResult, mask: (error: unknown) => GraphQLError): ExecutionResult {
  return result.errors ? { ...result, errors: result.errors.map(mask) } : result;
}
