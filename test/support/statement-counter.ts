import { once } from 'node:events';
import { connect, createServer } from 'node:net';

/** Counts the statements that clients send to a PostgreSQL server through it. */
export interface StatementCounter {
  /** The same database, by way of the counter. */
  url: string;
  /** How many statements were sent so far. Those of one text are sent one by one. */
  count(): number;
  /**
   * Resolves when every statement has its answer and no transaction is open: the end of a
   * transaction may be sent after the answer that was read in it.
   */
  quiet(): Promise<void>;
  close(): Promise<void>;
}

/** Listens in front of the server of `databaseUrl`, and understands as much as counting needs. */
export async function countStatements(databaseUrl: string): Promise<StatementCounter> {
  const { hostname, port } = new URL(databaseUrl);
  let count = 0;
  const sessions = new Set<Session>();
  let waiting: (() => void)[] = [];
  const isQuiet = () => [...sessions].every(({ asked, status }) => asked === 0 && status === IDLE);
  const wake = () => {
    if (!isQuiet()) return;
    for (const resolve of waiting) resolve();
    waiting = [];
  };
  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    const session: Session = { asked: 1, status: '' }; // it begins
    sessions.add(session);
    const sent = messagesOf(false, (type) => {
      if (STATEMENTS.has(type)) count += 1;
      if (ASKING.has(type)) session.asked += 1;
    });
    const answered = messagesOf(true, (type, body) => {
      if (type !== READY) return;
      session.asked -= 1;
      session.status = body.toString('latin1');
      wake();
    });
    client.on('data', sent).on('close', () => {
      sessions.delete(session);
      wake();
    });
    upstream.on('data', answered);
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
    quiet: () =>
      new Promise((resolve) => {
        waiting.push(resolve);
        wake();
      }),
    close: async () => {
      server.close();
      await once(server, 'close');
    },
  };
}

/** A connection: how often it waits for the server to be ready, and what that said last. */
interface Session {
  asked: number;
  status: string;
}

/** Execute, and Query: PostgreSQL, 54.7 Message Formats. */
const STATEMENTS = new Set(['E', 'Q']);
/** Sync, and Query: each is answered by ReadyForQuery, which says whether a transaction is open. */
const ASKING = new Set(['S', 'Q']);
const READY = 'Z';
const IDLE = 'I';
const HEAD_BYTES = 5;

/**
 * Takes the parts of what one side sends. Each message has a type and its length, except for the
 * first of a client, which has no type.
 */
function messagesOf(isTyped: boolean, received: (type: string, body: Buffer) => void): (part: Buffer) => void {
  let rest = Buffer.alloc(0);
  let isStarted = isTyped;
  return (part) => {
    rest = Buffer.concat([rest, part]);
    while (rest.length >= HEAD_BYTES) {
      const length = isStarted ? 1 + rest.readUInt32BE(1) : rest.readUInt32BE(0);
      if (rest.length < length) return;
      if (isStarted) received(rest.toString('latin1', 0, 1), rest.subarray(HEAD_BYTES, length));
      isStarted = true;
      rest = rest.subarray(length);
    }
  };
}
