import { once } from 'node:events';
import http, { createServer } from 'node:http';
import { text } from 'node:stream/consumers';

export interface Refusal {
  status: number;
  message: string;
  /** The engine carries out the request first, and its own answer is lost. */
  carriedOut?: boolean;
}

export interface RefusingEngine {
  /** The address in the form of DOCKER_HOST. */
  host: string;
  /**
   * Decides for each request: a refusal replaces the engine's answer, HANG gives no answer,
   * undefined forwards the request.
   */
  refuse: ((method: string, path: string) => Refusal | 'HANG' | undefined) | undefined;
  /** Changes the JSON of the engine's answers. */
  rewrite: ((path: string, json: string) => string) | undefined;
  /** The number of requests that were refused. */
  refused: number;
  close(): Promise<void>;
}

function refuseWith(response: http.ServerResponse, { status, message }: Refusal): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ message }));
}

/** Where Node's requests find the engine at this address, which has the form of DOCKER_HOST. */
export function engineTarget(host: string) {
  return host.startsWith('unix://')
    ? { socketPath: host.slice('unix://'.length) }
    : { host: new URL(host).hostname, port: Number(new URL(host).port) };
}

/** A proxy to a real engine that answers in its place when a test wants it to. */
export async function refusingEngine(host: string): Promise<RefusingEngine> {
  const target = engineTarget(host);
  const server = createServer((request, response) => {
    const { method = '', url = '' } = request;
    const answer = engine.refuse?.(method, url);
    if (answer !== undefined) engine.refused += 1;
    if (answer !== undefined && (answer === 'HANG' || !answer.carriedOut)) {
      request.resume();
      if (answer !== 'HANG') refuseWith(response, answer);
      return;
    }
    const { connection: _, host: __, ...headers } = request.headers;
    const onward = http.request({ ...target, method, path: url, headers, agent: false }, async (answered) => {
      if (answer !== undefined) {
        answered.resume();
        refuseWith(response, answer);
        return;
      }
      if (engine.rewrite !== undefined && answered.headers['content-type']?.startsWith('application/json')) {
        const json = engine.rewrite(url, await text(answered));
        response.writeHead(answered.statusCode ?? 502, { 'content-type': 'application/json' });
        response.end(json);
        return;
      }
      response.writeHead(answered.statusCode ?? 502, answered.headers);
      response.flushHeaders();
      answered.pipe(response);
      answered.on('error', () => response.destroy());
    });
    onward.on('error', () => response.destroy());
    response.on('close', () => onward.destroy());
    request.pipe(onward);
  });
  // As an engine does, it keeps idle connections open, so that no request meets the end of one.
  server.keepAliveTimeout = 0;
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const engine: RefusingEngine = {
    host: `tcp://127.0.0.1:${port}`,
    refuse: undefined,
    rewrite: undefined,
    refused: 0,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  return engine;
}
