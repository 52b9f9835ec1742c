import { connect, createServer, type Server } from 'node:net';

/** Makes the engine's socket reachable on a TCP port. */
export async function bridgeTo(dockerHost: string): Promise<Server> {
  const target = dockerHost.startsWith('unix://')
    ? { path: dockerHost.slice('unix://'.length) }
    : { host: new URL(dockerHost).hostname, port: Number(new URL(dockerHost).port) };
  const server = createServer((client) => {
    const upstream = connect(target);
    client.on('error', () => upstream.destroy()).on('close', () => upstream.destroy());
    upstream.on('error', () => client.destroy()).on('close', () => client.destroy());
    client.pipe(upstream).pipe(client);
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  return server;
}
