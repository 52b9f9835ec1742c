import type { FetchAPI, Plugin } from 'graphql-yoga';
import { LRUCache } from 'lru-cache';
import Negotiator from 'negotiator';
import { EVENT_STREAM } from './event-stream.ts';

/**
 * Refuses a request that accepts no answer of ours before anything is executed, and with a body:
 * the engine would make the change and then send nothing. The engine takes the first type that a
 * request names, whatever its weight, so it is given the accepted types in the client's order.
 */
export function acceptance(): Plugin {
  return {
    onRequestParse({ request, endResponse, fetchAPI }) {
      const accepted = acceptedTypes(request.headers.get('accept') ?? undefined);
      if (accepted.length === 0)
        return endResponse(notAcceptable(`Answers come as ${TYPES.join(', ')}: accept one of them.`, fetchAPI));
      request.headers.set('accept', accepted.join());
    },
    // What the engine refuses: an operation whose kind of answer is not accepted.
    onResponse({ response, setResponse, fetchAPI }) {
      if (response.status !== 406 || response.body) return;
      const message = `A subscription is answered as ${EVENT_STREAM}: accept that, or subscribe over a WebSocket.`;
      setResponse(notAcceptable(message, fetchAPI));
    },
  };
}

const TYPES = ['application/json', 'application/graphql-response+json', EVENT_STREAM, 'multipart/mixed'];

/**
 * The type in which a client wants JSON. Undefined if it accepts none: an answer to a query is JSON
 * wherever that is accepted, whatever else is.
 */
export function jsonTypeFor(header: string | undefined): string | undefined {
  return acceptedTypes(header).find((accepted) => accepted.endsWith('json'));
}

/** Whether a client accepts the events of a subscription. */
export function acceptsEvents(header: string | undefined): boolean {
  return acceptedTypes(header).includes(EVENT_STREAM);
}

/**
 * Our types that a client accepts, the preferred one first. An empty header says no more than none.
 */
function acceptedTypes(header = ''): string[] {
  const known = knownHeaders.get(header);
  if (known) return known;
  const ranges = header.split(',').filter((range) => range.trim() !== '');
  const accept = ranges.flatMap(withWeightAlone).join();
  const types = ranges.length === 0 ? TYPES : new Negotiator({ headers: { accept } }).mediaTypes(TYPES);
  knownHeaders.set(header, types);
  return types;
}

/** Clients send few different headers, and short ones. */
const knownHeaders = new LRUCache<string, string[]>({
  max: 100,
  maxSize: 100_000,
  sizeCalculation: (_, header) => header.length + 1,
});

/**
 * A range of types without its parameters, which no type of ours has, so that they would match
 * none. A charset chooses, because answers are UTF-8.
 */
function withWeightAlone(range: string): string[] {
  const [type = '', ...parameters] = range.split(';').map((part) => part.trim().toLowerCase());
  const charset = parameters.find((parameter) => parameter.startsWith('charset='));
  if (charset !== undefined && !UTF_8.has(charset.replaceAll('"', ''))) return [];
  const weight = parameters.find((parameter) => parameter.startsWith('q='));
  return [[type === '*' ? '*/*' : type, ...(weight === undefined ? [] : [weight])].join(';')];
}

const UTF_8 = new Set(['charset=utf-8', 'charset=utf8', 'charset=*']);

function notAcceptable(message: string, { Response }: FetchAPI): Response {
  const body = JSON.stringify({ errors: [{ message, extensions: { code: 'BAD_REQUEST' } }] });
  return new Response(body, { status: 406, headers: { 'content-type': 'application/json; charset=utf-8' } });
}
