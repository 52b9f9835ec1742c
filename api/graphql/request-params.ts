import type { IncomingMessage } from 'node:http';
import type { GraphQLError } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import type { Context } from '../context.ts';
import { failure, shortened } from '../errors.ts';
import { type Params, paramsOf, paramsOfQuery, parseJson } from './params.ts';
import { bodyOf } from './request-body.ts';
import type { Transport, Turn } from './transport.ts';

/**
 * Reads what a request asks for, in place of the engine's own parsers: those let a parameter that
 * is not JSON fail as if a part of ours had failed.
 *
 * The turn of the operation begins when its body has arrived, so that slow bodies hold up nobody.
 * It ends when the answer, or the start of a stream, is ready to send.
 */
export function requestParams(): Plugin<Context, Transport> {
  return {
    onRequestParse({ request, setRequestParser, serverContext: { turn, incoming, params } }) {
      if (params) return setRequestParser(() => params);
      if (request.method === 'GET') return setRequestParser(() => queryParams(request, { turn }));
      if (request.method !== 'POST') return; // the engine refuses it
      const read = readerOf(request.headers);
      setRequestParser(async () => {
        if (!incoming) throw new Error('A request over HTTP has a body.');
        return read(await bodyInTurn(incoming, turn));
      });
    },
    onResponse: ({ serverContext }) => serverContext.turn?.end(),
  };
}

/** Whether the body of a request is an operation in JSON, which is not compressed. */
export function isPlainJson({ method, headers }: IncomingMessage): boolean {
  return (
    method === 'POST' &&
    headers['content-encoding'] === undefined &&
    PLAIN_JSON.includes(headers['content-type']?.toLowerCase() ?? '')
  );
}

const PLAIN_JSON = ['application/json', 'application/json; charset=utf-8', 'application/json;charset=utf-8'];

/** What a request by GET asks for. Rejects with BAD_REQUEST, and with RATE_LIMITED. */
export async function queryParams(
  { url = '' }: { url?: string | undefined },
  { turn }: Pick<Transport, 'turn'>,
): Promise<Params> {
  const [, text = ''] = url.split(/\?(.*)/s);
  await turn?.begin(0);
  return paramsOfQuery(text);
}

/** What a request with such a body asks for. Rejects with BAD_REQUEST, and with RATE_LIMITED. */
export async function bodyParams(request: IncomingMessage, { turn }: Transport): Promise<Params> {
  return readJson(await bodyInTurn(request, turn));
}

async function bodyInTurn(request: IncomingMessage, turn: Turn | undefined): Promise<string> {
  const body = await bodyOf(request);
  await turn?.begin(body.byteLength);
  return textOf(body);
}

/** The function that reads a body of this type. Throws BAD_REQUEST for one that is not taken. */
function readerOf(headers: Headers): (body: string) => Params {
  const packed = headers.get('content-encoding') ?? 'identity';
  if (packed !== 'identity') throw unsupported('A body must not be compressed.', {});
  const contentType = headers.get('content-type');
  const [type = '', ...parameters] = (contentType ?? '').split(';').map((part) => part.trim().toLowerCase());
  const read = READERS.get(type);
  const charset = parameters.find((parameter) => parameter.startsWith('charset='))?.slice('charset='.length);
  const isUtf8 = charset === undefined || UTF_8.includes(charset.replaceAll('"', ''));
  if (read && isUtf8) return read;
  const types = [...READERS.keys()].join(', ');
  const given = contentType ? `is ${JSON.stringify(shortened(contentType))}` : 'has none';
  throw unsupported(`A body must be in UTF-8, and its Content-Type one of ${types}. This one ${given}.`, {
    'accept-post': types,
  });
}

/** The text of a body. A mark of the byte order says nothing of UTF-8 and is left out. */
function textOf(body: Buffer): string {
  try {
    return UTF_8_TEXT.decode(body);
  } catch {
    throw failure('BAD_REQUEST', 'The body must be text in UTF-8, and some of its bytes are not.', {
      http: { status: 400 },
    });
  }
}

function unsupported(message: string, headers: Record<string, string>): GraphQLError {
  return failure('BAD_REQUEST', message, { http: { status: 415, headers } });
}

const readJson = (body: string) => paramsOf(parseJson('The body', body));
const READERS = new Map<string, (body: string) => Params>([
  ['application/json', readJson],
  ['application/graphql+json', readJson],
  ['application/graphql', (body) => paramsOf({ query: body })],
  ['application/x-www-form-urlencoded', paramsOfQuery],
]);
const UTF_8_TEXT = new TextDecoder('utf-8', { fatal: true });
const UTF_8 = ['utf-8', 'utf8', 'us-ascii'];
