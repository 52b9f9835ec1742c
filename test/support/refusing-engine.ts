import { once } from 'node:events';
import http, { createServer } from 'node:http';

export interface RefusingEngine {
  /** In the form of DOCKER_HOST. */
  host: string;
  /** Of each request that is refused, instead of its answer; undefined lets it through. */
  refuse: ((method: string, path: string) => { status: number; message: string } | undefined) | undefined;
  /** Requests that were refused. */
  refused: number;
  close(): Promise<void>;
}

/** A way to a real engine that answers in its place where a test says so. */
export async function refusingEngine(host: string): Promise<RefusingEngine> {
  const target = host.startsWith('unix://')
    ? { socketPath: host.slice('unix://'.length) }
    : { host: new URL(host).hostname, port: Number(new URL(host).port) };
  const server = createServer((request, response) => {
    const { method = '', url = '' } = request;
    const answer = engine.refuse?.(method, url);
    if (answer !== undefined) {
      engine.refused += 1;
      request.resume();
      response.writeHead(answer.status, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ message: answer.message }));
      return;
    }
    const { connection: _, host: __, ...headers } = request.headers;
    const onward = http.request({ ...target, method, path: url, headers, agent: false }, (answered) => {
      response.writeHead(answered.statusCode ?? 502, answered.headers);
      response.flushHeaders();
      answered.pipe(response);
      answered.on('error', () => response.destroy());
    });
    onward.on('error', () => response.destroy());
    response.on('close', () => onward.destroy());
    request.pipe(onward);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const engine: RefusingEngine = {
    host: `tcp://127.0.0.1:${port}`,
    refuse: undefined,
    refused: 0,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  return engine;
}
