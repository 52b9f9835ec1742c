import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';
import { getOperationAST } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import Negotiator from 'negotiator';
import type { Client, Context } from '../context.ts';
import type { Transport } from './transport.ts';

/**
 * Compresses answers in the encoding that the client prefers. The answer to a mutation stays as it
 * is: it can hold a new token beside text of the request, and the length of both, compressed
 * together, tells how much they have in common (BREACH). Events are never compressed: they would
 * wait.
 */
export function compression(): Plugin<Context, Transport> {
  const ofMutations = new WeakSet<Client>();
  return {
    onExecute({ args: { document, operationName, contextValue } }) {
      if (getOperationAST(document, operationName)?.operation === 'mutation') ofMutations.add(contextValue.client);
    },
    async onResponse({ request, response, setResponse, serverContext: { client }, fetchAPI }) {
      if (ofMutations.has(client) || !response.body || !isJson(response.headers)) return;
      const encoding = encodingFor(request.headers.get('accept-encoding'));
      if (encoding === 'identity') return;
      const text = await response.text();
      const { status, statusText, headers } = response;
      if (Buffer.byteLength(text) < BYTES_MIN) {
        setResponse(new fetchAPI.Response(text, { status, statusText, headers }));
        return;
      }
      const packed = await COMPRESS[encoding](text);
      const sent = new Headers(headers);
      sent.set('content-encoding', encoding);
      sent.set('content-length', String(packed.length));
      setResponse(new fetchAPI.Response(Uint8Array.from(packed), { status, statusText, headers: sent }));
    },
  };
}

/** The body of an answer to a query, in the encoding that the client prefers. */
export async function packedFor(
  accepted: string | undefined,
  text: string,
): Promise<{ body: string | Buffer; encoding?: string }> {
  const encoding = accepted === undefined ? 'identity' : encodingFor(accepted);
  if (encoding === 'identity' || Buffer.byteLength(text) < BYTES_MIN) return { body: text };
  return { body: await COMPRESS[encoding](text), encoding };
}

/** Below this, the headers are most of an answer. */
const BYTES_MIN = 1_024;
/** Faster than gzip and shorter. Each level above costs more than it saves in a local network. */
const BROTLI_QUALITY = 4;

const brotli = promisify<Buffer | string, object, Buffer>(brotliCompress);
const COMPRESS = {
  br: (text: string) => brotli(text, { params: { [constants.BROTLI_PARAM_QUALITY]: BROTLI_QUALITY } }),
  gzip: promisify<string, Buffer>(gzip),
};

function isJson(headers: Headers): boolean {
  return headers.get('content-type')?.includes('json') === true && !headers.has('content-encoding');
}

function encodingFor(accepted: string | null): keyof typeof COMPRESS | 'identity' {
  const best = new Negotiator({ headers: { 'accept-encoding': accepted ?? '' } }).encoding(['br', 'gzip', 'identity']);
  return best === 'br' || best === 'gzip' ? best : 'identity';
}
