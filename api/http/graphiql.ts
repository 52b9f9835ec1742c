import { readFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import { z } from 'zod';
import { PACKAGE_FOLDER } from '../../platform/package-folder.ts';
import { graphiqlTabs } from './graphiql/tabs.ts';
import { pathOf, sendJson } from './messages.ts';
import { type Stored, sendStored, sha256 } from './stored.ts';

export interface Graphiql {
  /** Answers requests for the page and its parts. Returns whether it did. */
  serve(request: IncomingMessage, response: ServerResponse): Promise<boolean>;
}

/**
 * Serves GraphiQL to browsers: a small page, and a script and a style sheet under names that
 * browsers cache forever.
 */
export function createGraphiql(): Graphiql {
  // On the first request, because few processes get one.
  let loading: Promise<Map<string, Stored>> | undefined;
  return {
    async serve(request, response) {
      const path = pathOf(request);
      const isPart = path.startsWith(FOLDER) && path !== FOLDER;
      if (!isPart && !opensPage(request)) return false;
      loading ??= load();
      const found = (await loading).get(path);
      if (!found) sendJson(response, 404, { message: 'GraphiQL has no such file (any more): reload its page.' });
      else sendStored(request, response, found);
      return true;
    },
  };
}

/** Answers in place of GraphiQL when it is turned off. */
export const noGraphiql: Graphiql = {
  async serve(request, response) {
    if (!opensPage(request)) return false;
    sendJson(response, 404, { message: 'GraphiQL is turned off (GRAPHIQL=false): send operations by POST.' });
    return true;
  },
};

/**
 * Whether a browser opens the page. Programs ask for JSON, and a URL with an operation in its query
 * runs that.
 */
function opensPage({ method, url, headers }: IncomingMessage): boolean {
  return (method === 'GET' || method === 'HEAD') && url === PAGE && headers.accept?.includes('text/html') === true;
}

const PAGE = '/graphql';
const FOLDER = '/graphql/';
const DIST = new URL('dist/', PACKAGE_FOLDER);

const Manifest = z.object({ script: z.string(), style: z.string() });

async function load(): Promise<Map<string, Stored>> {
  const read = (name: string) => readFile(new URL(name, DIST));
  const { script, style } = Manifest.parse(JSON.parse(String(await read('graphiql.json'))));
  const part = async (name: string, type: string): Promise<[string, Stored]> => [
    `${FOLDER}${name}`,
    {
      bodies: { br: await read(`${name}.br`), gzip: await read(`${name}.gz`), identity: await read(name) },
      etag: `W/"${name}"`,
      headers: { 'content-type': type, 'cache-control': 'public, max-age=31536000, immutable' },
    },
  ];
  return new Map([
    [PAGE, page(script, style)],
    await part(script, 'text/javascript; charset=utf-8'),
    await part(style, 'text/css; charset=utf-8'),
  ]);
}

function page(script: string, style: string): Stored {
  // So that the text cannot end the script.
  const options = JSON.stringify({ defaultTabs: graphiqlTabs }).replaceAll('<', '\\u003c');
  const inline = `globalThis.graphiqlOptions = ${options};`;
  const body = Buffer.from(`<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>Chronoverse</title>
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <link rel="icon" href="data:,">
    <link rel="stylesheet" href="${FOLDER}${style}">
    <script>${inline}</script>
    <script type="module" src="${FOLDER}${script}"></script>
  </head>
  <body><div id="graphiql"></div></body>
</html>
`);
  return {
    bodies: { gzip: gzipSync(body), identity: body },
    etag: `W/"${sha256(body, 'base64url')}"`,
    headers: {
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'private, no-cache',
      'content-security-policy': policy(sha256(inline, 'base64')),
      vary: 'Origin, Accept, Accept-Encoding',
    },
  };
}

/**
 * Allows the page's own files, this one script and this server: nothing injected into the page runs
 * or sends data elsewhere.
 */
function policy(inlineHash: string): string {
  return [
    "default-src 'none'",
    `script-src 'self' 'sha256-${inlineHash}'`,
    "style-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
}
