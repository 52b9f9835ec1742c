import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { connectionsOf } from '../support/connections.ts';
import { ask, cleanUp, type Running, startProcess, tempFolder } from '../support/processes.ts';

describe('an upgrade that is refused', () => {
  let up: Running;
  let url: string;
  let port: number;
  const sockets: Socket[] = [];
  beforeAll(async () => {
    up = startProcess(['up'], { PORT: '0', DATA_DIR: await tempFolder() });
    url = await up.ready();
    port = Number(new URL(url).port);
  });
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.destroy();
  });
  afterAll(cleanUp);

  const REFUSED: [string, string][] = [
    ['GET /x', 'Upgrade: websocket'],
    ['GET /', 'Upgrade: h2c'],
    ['GET //graphql', 'Upgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13'],
    ['GET /graphql', 'Upgrade: websocket'],
    ['POST /graphql', 'Upgrade: websocket\r\nContent-Length: 10'],
    ['GET /graphql', 'Upgrade: websocket\r\nCookie: chronoverse_session=a\r\nOrigin: https://evil.example'],
    ['CONNECT a:1', 'X: y'],
  ];

  /** Sends the upgrade, and keeps its own half of the connection open. */
  async function refused([line, headers]: [string, string]): Promise<{ socket: Socket; answer: string }> {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    sockets.push(socket);
    socket.on('error', () => undefined);
    socket.write(`${line} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\n${headers}\r\n\r\n`);
    const [answer] = await once(socket, 'data');
    return { socket, answer: String(answer) };
  }

  test('is answered with a status', async () => {
    for (const upgrade of REFUSED) expect((await refused(upgrade)).answer).toMatch(/^HTTP\/1.1 4\d\d /);
  });

  test('ends no process if its client resets the connection, before or after the answer', async () => {
    for (const upgrade of REFUSED) {
      const { socket } = await refused(upgrade);
      // By then the server only waits for the end of the connection.
      await new Promise((resolve) => setTimeout(resolve, 100));
      socket.resetAndDestroy();
      const [line, headers] = upgrade;
      const hasty = connect({ port, host: '127.0.0.1' });
      hasty.on('error', () => undefined);
      await once(hasty, 'connect');
      hasty.write(`${line} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n${headers}\r\n\r\n`, () =>
        hasty.resetAndDestroy(),
      );
      await once(hasty, 'close');
    }
    await expect.poll(() => connectionsOf(up.pid, port)).toBe(0);
    expect(await ask(url, '{ __typename }')).toEqual({ __typename: 'Query' });
  });

  test('holds no descriptor of the process, whatever its client does', async () => {
    for (const upgrade of REFUSED) {
      const { socket } = await refused(upgrade); // its client never ends the connection
      const dribble = setInterval(() => socket.writable && socket.write('x'), 50);
      socket.once('close', () => clearInterval(dribble));
    }
    await expect.poll(() => connectionsOf(up.pid, port)).toBe(0);
    expect(await ask(url, '{ __typename }')).toEqual({ __typename: 'Query' });
  });
});
