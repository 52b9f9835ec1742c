import type { ExecutionResult, GraphQLError } from 'graphql';
import { EndableIterator } from '../../platform/async/iterator.ts';
import { withoutHttp } from '../errors.ts';
import type { Frame, Sink } from '../live/frame.ts';

/** How a stream ended: an interrupted one is not complete, and its client is to subscribe again. */
export type StreamOutcome = 'COMPLETE' | 'INTERRUPTED';

/** The last frame of a stream that a shutdown ends. No client sees it. */
const INTERRUPTED: Frame = Object.freeze({ json: Buffer.alloc(0), hasErrors: false });

/**
 * The frames of a subscription. With a sink they may be sent to it directly, while `next` waits.
 */
export interface Frames extends AsyncIterable<Frame> {
  attach?(sink: Sink): void;
}

/**
 * The frames of one subscription, which the server can end at any moment with an error as the last
 * one.
 */
export class GuardedStream extends EndableIterator<Frame> {
  readonly #frames: Frames;

  /** `mask` logs an error and returns what the client may see of it. */
  constructor(frames: Frames, mask: (error: unknown) => GraphQLError) {
    super(frames, (error) => frameOf({ errors: [mask(error)] }));
    this.#frames = frames;
  }

  /** Sends everything to `sink`. Resolves at the end. */
  async deliver(sink: Sink): Promise<StreamOutcome> {
    this.#frames.attach?.(sink);
    for await (const frame of this) {
      if (frame === INTERRUPTED) return 'INTERRUPTED';
      sink.send(frame);
      if (sink.isFull) await new Promise<void>((resolve) => sink.onceDrained(resolve));
    }
    return 'COMPLETE';
  }

  /** Ends the stream now, with `error` as its last result. */
  fail(error: GraphQLError): void {
    this.end(frameOf({ errors: [error] }));
  }

  /** Ends the stream now, though it is not complete: the client is to subscribe again. */
  interrupt(): void {
    this.end(INTERRUPTED);
  }
}

export function frameOf(result: ExecutionResult, id?: string): Frame {
  const hasErrors = result.errors !== undefined;
  const shown = result.errors ? { ...result, errors: result.errors.map(withoutHttp) } : result;
  return { json: Buffer.from(JSON.stringify(shown)), id, hasErrors };
}

/** Masks the errors of a result. Errors that are already masked stay as they are. */
export function maskResult(result: ExecutionResult, mask: (error: unknown) => GraphQLError): ExecutionResult {
  return result.errors ? { ...result, errors: result.errors.map(mask) } : result;
}
