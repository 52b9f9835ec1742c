import type { IncomingMessage, ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import { lexicographicSortSchema, printSchema } from 'graphql';
import { schema } from '../schema/schema.ts';
import { sendJson } from './messages.ts';
import { type Stored, sendStored, sha256 } from './stored.ts';

export const SCHEMA_PATH = '/schema.graphql';

let stored: Stored | undefined;

/** GET /schema.graphql: the schema for code generators and editors, if it is not hidden. */
export function serveSchema(
  request: IncomingMessage,
  response: ServerResponse,
  { introspection = true }: { introspection?: boolean | undefined },
): void {
  if (introspection) {
    stored ??= textOf(`${printSchema(lexicographicSortSchema(schema))}\n`);
    sendStored(request, response, stored);
  } else sendJson(response, 404, { message: 'The schema is hidden here (INTROSPECTION=false).' });
}

function textOf(text: string): Stored {
  const identity = Buffer.from(text);
  return {
    bodies: { gzip: gzipSync(identity), identity },
    etag: `W/"${sha256(identity, 'base64url')}"`,
    headers: { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'private, no-cache' },
  };
}
