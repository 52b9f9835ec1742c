import { once } from 'node:events';
import { connect, createServer } from 'node:net';

/** Counts the statements that clients send to a PostgreSQL server through it. */
export interface StatementCounter {
  /** The same database, by way of the counter. */
  url: string;
  /** How many statements were sent so far. Those of one text are sent one by one. */
  count(): number;
  close(): Promise<void>;
}

/** Listens in front of the server of `databaseUrl`, and understands as much as counting needs. */
export async function countStatements(databaseUrl: string): Promise<StatementCounter> {
  const { hostname, port } = new URL(databaseUrl);
  let count = 0;
  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    const seen = messagesOf((type) => {
      if (STATEMENTS.has(type)) count += 1;
    });
    client.on('data', seen);
    client.pipe(upstream).pipe(client);
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const)
      socket.on('error', () => socket.destroy()).on('close', () => other.destroy());
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  const url = new URL(databaseUrl);
  url.hostname = '127.0.0.1';
  url.port = String(typeof address === 'object' ? address?.port : '');
  return {
    url: url.href,
    count: () => count,
    close: async () => {
      server.close();
      await once(server, 'close');
    },
  };
}

/** Execute, and Query: PostgreSQL, 54.7 Message Formats. */
const STATEMENTS = new Set(['E', 'Q']);
const HEAD_BYTES = 5;

/** Takes the parts of what a client sends. Each message but the first has a type and its length. */
function messagesOf(received: (type: string) => void): (part: Buffer) => void {
  let rest = Buffer.alloc(0);
  let isStarted = false;
  return (part) => {
    rest = Buffer.concat([rest, part]);
    while (rest.length >= HEAD_BYTES) {
      const length = isStarted ? 1 + rest.readUInt32BE(1) : rest.readUInt32BE(0);
      if (rest.length < length) return;
      if (isStarted) received(rest.toString('latin1', 0, 1));
      isStarted = true;
      rest = rest.subarray(length);
    }
  };
}
