import type { FetchAPI, Plugin } from 'graphql-yoga';
import { withoutHttp } from '../errors.ts';
import { EVENT_ID, INTERRUPTED, type StreamResult } from './guarded-stream.ts';

/**
 * Sends the results of a subscription as server-sent events, in place of the engine's own way. An
 * event of a stream that can be resumed has its cursor as its id: browsers send the last one back
 * as Last-Event-ID. A stream that the server interrupts ends without `complete`, so that clients
 * reconnect.
 */
export function eventStreams(): Plugin {
  return {
    onResultProcess({ result, resultProcessor, setResultProcessor }) {
      // Without one the client accepts no events.
      if (!resultProcessor || !(Symbol.asyncIterator in result)) return;
      setResultProcessor((_, fetchAPI) => eventsOf(result, fetchAPI), EVENT_STREAM);
    },
  };
}

export const EVENT_STREAM = 'text/event-stream';
const PING_MS = 12_000; // proxies in between see traffic
const PING = ':\n\n';
const COMPLETE = 'event: complete\ndata:\n\n';

function eventsOf(results: AsyncIterable<StreamResult>, { ReadableStream, Response, TextEncoder }: FetchAPI): Response {
  const encoder = new TextEncoder();
  const iterator = results[Symbol.asyncIterator]();
  let pings: NodeJS.Timeout | undefined;
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      const send = (text: string) => controller.enqueue(encoder.encode(text));
      send(PING); // some browsers wait for the first bytes
      pings = setInterval(() => {
        if (controller.desiredSize === null) clearInterval(pings);
        else if (controller.desiredSize > 0) send(PING);
      }, PING_MS);
    },
    async pull(controller) {
      try {
        const { value, done } = await iterator.next();
        if (!done && value !== INTERRUPTED) return controller.enqueue(encoder.encode(eventOf(value)));
        clearInterval(pings);
        if (done) controller.enqueue(encoder.encode(COMPLETE));
        controller.close();
      } catch (error) {
        clearInterval(pings);
        controller.error(error);
      }
    },
    async cancel() {
      clearInterval(pings);
      await iterator.return?.();
    },
  });
  return new Response(body, {
    headers: {
      'content-type': EVENT_STREAM,
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no', // a proxy must not keep events back
    },
  });
}

function eventOf(result: StreamResult): string {
  const { [EVENT_ID]: id } = result;
  const shown = result.errors ? { ...result, errors: result.errors.map(withoutHttp) } : result;
  return `event: next\n${id === undefined ? '' : `id: ${id}\n`}data: ${JSON.stringify(shown)}\n\n`;
}
