import type { ServerResponse } from 'node:http';
import type { Plugin } from 'graphql-yoga';
import type { Client } from '../context.ts';
import type { Frame, Sink } from '../live/frame.ts';
import type { GuardedStream } from './guarded-stream.ts';
import type { Transport } from './transport.ts';

/** The subscriptions over HTTP that have begun, by their clients. */
export type BegunStreams = WeakMap<Client, { stream: GuardedStream; isAnswered: boolean }>;

/**
 * Answers a subscription with the head of a stream of server-sent events. `sendEvents` sends the
 * events past the engine, whose streams cost more than the subscription itself.
 */
export function eventStreams(begun: BegunStreams): Plugin<object, Transport> {
  return {
    onResultProcess({ result, serverContext: { client }, resultProcessor, setResultProcessor }) {
      // Without one the client accepts no events.
      if (!resultProcessor || !(Symbol.asyncIterator in result)) return;
      setResultProcessor((_, { Response }) => {
        const found = begun.get(client);
        if (!found) throw new Error('A subscription was not guarded.');
        found.isAnswered = true;
        return new Response(null, { headers: EVENT_HEADERS });
      }, EVENT_STREAM);
    },
  };
}

export const EVENT_STREAM = 'text/event-stream';
/** The head of every stream of events. */
export const EVENT_HEADERS = {
  'content-type': EVENT_STREAM,
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no', // a proxy must not keep events back
};
const PING_MS = 12_000; // proxies in between see traffic
const PING = ':\n\n';
const COMPLETE = 'event: complete\ndata:\n\n';

/**
 * Sends the results of a subscription as server-sent events. An event of a stream that can be
 * resumed has its cursor as its id: browsers send the last one back as Last-Event-ID. A stream that
 * the server interrupts ends without `complete`, so that clients reconnect.
 */
export async function sendEvents(response: ServerResponse, stream: GuardedStream): Promise<void> {
  const sink = new EventSink(response);
  response.on('error', () => stream.end()); // a write failed because the client left
  response.write(PING); // some browsers wait for the first bytes
  const pings = setInterval(() => {
    if (!sink.isFull) response.write(PING);
  }, PING_MS);
  try {
    const outcome = await stream.deliver(sink);
    response.end(outcome === 'COMPLETE' ? COMPLETE : undefined);
  } finally {
    clearInterval(pings);
  }
}

class EventSink implements Sink {
  readonly #response: ServerResponse;

  constructor(response: ServerResponse) {
    this.#response = response;
  }

  get isFull(): boolean {
    return this.#response.writableNeedDrain && !this.#response.destroyed;
  }

  send(frame: Frame): void {
    if (!this.#response.destroyed) this.#response.write(eventOf(frame));
  }

  onceDrained(run: () => void): void {
    if (!this.isFull) {
      run();
      return;
    }
    const response = this.#response;
    const once = () => {
      response.off('drain', once);
      response.off('close', once);
      run();
    };
    response.on('drain', once);
    response.on('close', once);
  }
}

/** The same bytes for all who are sent it. */
const events = new WeakMap<Frame, Buffer>();

function eventOf(frame: Frame): Buffer {
  const known = events.get(frame);
  if (known) return known;
  const head = `event: next\n${frame.id === undefined ? '' : `id: ${frame.id}\n`}data: `;
  const event = Buffer.concat([Buffer.from(head), frame.json, Buffer.from('\n\n')]);
  events.set(frame, event);
  return event;
}
