import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** A proxy to a real server that a test can cut, freeze and restore without touching the server. */
export interface TestProxy {
  port: number;
  /** Ends all connections and accepts no more. */
  cut(): void;
  /**
   * Connections stay, but no data passes any more, as when the server is stopped or the network
   * drops packets.
   */
  freeze(): void;
  restore(): void;
  close(): Promise<void>;
}

export async function proxyTo(host: string, port: number): Promise<TestProxy> {
  const sockets = new Set<Socket>();
  let state: 'open' | 'cut' | 'frozen' = 'open';

  const server = createServer((client) => {
    keep(client);
    if (state === 'cut') return client.destroy();
    if (state === 'frozen') return client.pause();
    const upstream = keep(connect(port, host));
    client.pipe(upstream).pipe(client);
    client.on('close', () => upstream.destroy());
    upstream.on('close', () => client.destroy());
  });

  function keep(socket: Socket): Socket {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => sockets.delete(socket));
    return socket;
  }

  function end(): void {
    for (const socket of sockets) socket.destroy();
  }

  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    cut() {
      state = 'cut';
      end();
    },
    freeze() {
      state = 'frozen';
      for (const socket of sockets) socket.unpipe().pause();
    },
    restore() {
      if (state === 'frozen') end(); // data that was dropped does not come again
      state = 'open';
    },
    async close() {
      end();
      server.close();
      await once(server, 'close');
    },
  };
}
