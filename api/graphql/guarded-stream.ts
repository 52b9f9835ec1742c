import type { ExecutionResult, GraphQLError } from 'graphql';
import { EndableIterator } from '../../platform/async/iterator.ts';

/**
 * The results of one subscription, which the server can end at any moment with an error as the last
 * result.
 */
export class GuardedStream extends EndableIterator<ExecutionResult> {
  /** `mask` logs an error and returns what the client may see of it. */
  constructor(results: AsyncIterable<ExecutionResult>, mask: (error: unknown) => GraphQLError) {
    super(results, (error) => ({ errors: [mask(error)] }));
  }

  /** Ends the stream now, with `error` as its last result. */
  fail(error: GraphQLError): void {
    this.end({ errors: [error] });
  }
}

/** Masks the errors of a result. Errors that are already masked stay as they are. */
export function maskResult(result: ExecutionResult, mask: (error: unknown) => GraphQLError): ExecutionResult {
  return result.errors ? { ...result, errors: result.errors.map(mask) } : result;
}
