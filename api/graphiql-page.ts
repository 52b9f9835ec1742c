import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { renderGraphiQL } from '@graphql-yoga/render-graphiql';
import type { Plugin } from 'graphql-yoga';
import type { Context } from './context.ts';
import { graphiqlOptions } from './graphiql.ts';

const compress = promisify(gzip);

interface Page {
  body: Uint8Array<ArrayBuffer>;
  etag: string;
}

/** GraphiQL for browsers at `path`: 9 MB with all that it needs, so it goes compressed (2.4 MB), and again only when it has changed. */
export function graphiqlPage(path: string): Plugin<Context> {
  let pressed: Promise<Page> | undefined;
  return {
    async onRequest({ request, url, fetchAPI, endResponse }) {
      const accepts = (header: string, value: string) => request.headers.get(header)?.includes(value) === true;
      if (request.method !== 'GET' || url.pathname !== path || !accepts('accept', 'text/html')) return;
      pressed ??= press();
      const { body, etag } = await pressed;
      const headers = {
        etag,
        'cache-control': 'private, no-cache',
        vary: 'accept, accept-encoding',
        'content-security-policy': "frame-ancestors 'none'",
      };
      const html = { ...headers, 'content-type': 'text/html; charset=utf-8' };
      if (accepts('if-none-match', etag)) endResponse(new fetchAPI.Response(null, { status: 304, headers }));
      else if (!accepts('accept-encoding', 'gzip'))
        endResponse(new fetchAPI.Response(renderGraphiQL(graphiqlOptions), { headers: html }));
      else endResponse(new fetchAPI.Response(body, { headers: { ...html, 'content-encoding': 'gzip' } }));
    },
  };
}

async function press(): Promise<Page> {
  const page = renderGraphiQL(graphiqlOptions);
  const etag = `W/"${createHash('sha256').update(page).digest('base64url')}"`; // weak: the same page, compressed or not
  return { body: new Uint8Array(await compress(page)), etag };
}
