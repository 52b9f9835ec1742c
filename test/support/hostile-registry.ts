import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';

/**
 * The server to which a hostile registry tries to lead the engine. It records the requests that
 * arrive.
 */
export interface Target {
  /** On 127.0.0.2, which the engine can reach just as it reaches 127.0.0.1. */
  url: string;
  /** The user agents of the requests that arrived. */
  seen: string[];
  close(): Promise<void>;
}

export async function openTarget(): Promise<Target> {
  const seen: string[] = [];
  const server = createServer((request, response) => {
    seen.push(request.headers['user-agent'] ?? 'unknown');
    response.end('inner service: admin=4711');
  }).listen(0, '127.0.0.2');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return { url: `http://127.0.0.2:${port}`, seen, close: () => closed(server) };
}

export const BAITS = [
  'realm',
  'hello',
  'manifest',
  'blob',
  'later realm',
  'layer urls',
  'index within an index',
] as const;
export type Bait = (typeof BAITS)[number];

/**
 * What a registry claims to lack when a worker asks, before it leads an engine to the target:
 * images `missing-…:1`.
 */
export const MISSING = ['manifest', 'body', 'layer'] as const;

/** Go's client accepts compressed answers and a worker does not. Their user agents are the same. */
export function isOfEngine(headers: IncomingMessage['headers']): boolean {
  return headers['accept-encoding'] !== undefined;
}

/** A registry on 127.0.0.1 that leads to `target` by the chosen bait (`set`). */
export async function openHostileRegistry(target: string) {
  const agents: string[] = [];
  const askers: ('engine' | 'worker')[] = [];
  const config = Buffer.from(
    JSON.stringify({ architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [] } }),
  );
  const digest = `sha256:${createHash('sha256').update(config).digest('hex')}`;
  let bait: Bait = 'realm';

  const manifest = () =>
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.docker.distribution.manifest.v2+json',
      config: { mediaType: 'application/vnd.docker.container.image.v1+json', size: config.length, digest },
      layers: bait === 'layer urls' ? [{ mediaType: LAYER, size: 1, digest, urls: [`${target}/layer`] }] : [],
    });

  function handle({ method, url = '', headers }: IncomingMessage, response: ServerResponse): void {
    agents.push(headers['user-agent'] ?? 'unknown');
    askers.push(isOfEngine(headers) ? 'engine' : 'worker');
    const redirect = () => response.writeHead(307, { location: `${target}/redirected` }).end();
    const challenge = () =>
      response.writeHead(401, { 'www-authenticate': `Bearer realm="${target}/token",service="x"` }).end();
    const missing = MISSING.find((one) => url.includes(`/missing-${one}/`));
    if (missing !== undefined && isOfEngine(headers)) {
      challenge();
    } else if (missing !== undefined && url.includes(missing === 'layer' ? '/blobs/' : '/manifests/')) {
      response.writeHead(missing === 'body' && method === 'HEAD' ? 200 : 404, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ errors: [{ code: 'MANIFEST_UNKNOWN', message: 'admin=4711' }] }));
    } else if (url.includes('/endless/')) {
      response.writeHead(307, { location: url }).end();
    } else if (url.includes('/large/manifests/')) {
      response.writeHead(200, { 'content-type': INDEX });
      response.end(' '.repeat(4 * 1024 * 1024 + 1));
    } else if (url.includes('/many/manifests/')) {
      const layers = Array.from({ length: 601 }, () => ({ digest }));
      response.end(JSON.stringify({ schemaVersion: 2, config: { digest }, layers }));
    } else if (bait === 'index within an index' && url.includes('/manifests/')) {
      const depth = url.endsWith(`:${INNER}`) ? 1 : 0;
      const child = { mediaType: INDEX, size: 1, digest: `sha256:${depth === 0 ? INNER : LEAF}` };
      response.writeHead(200, { 'content-type': INDEX });
      if (url.endsWith(`:${LEAF}`)) response.end(JSON.stringify({ config: { digest, urls: [`${target}/config`] } }));
      else response.end(JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests: [child] }));
    } else if (url === '/v2/') {
      if (bait === 'realm') challenge();
      else if (bait === 'hello') redirect();
      else response.end('{}');
    } else if (url.includes('/manifests/')) {
      if (bait === 'manifest') redirect();
      else if (bait === 'later realm') challenge();
      else
        response
          .writeHead(200, { 'content-type': 'application/vnd.docker.distribution.manifest.v2+json' })
          .end(manifest());
    } else if (bait === 'blob') redirect();
    else response.end(config);
  }

  const server = createServer(handle).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    port,
    agents,
    askers,
    set(next: Bait) {
      bait = next;
    },
    close: () => closed(server),
  };
}

const INDEX = 'application/vnd.oci.image.index.v1+json';
const INNER = '1'.repeat(64);
const LEAF = '2'.repeat(64);
const LAYER = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';

async function closed(server: ReturnType<typeof createServer>): Promise<void> {
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
}
