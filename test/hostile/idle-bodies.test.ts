import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { codes, query, type TestApi, testApi } from '../api/support.ts';

describe('requests without a token whose bodies do not arrive', () => {
  let api: TestApi;
  const sockets: Socket[] = [];
  beforeAll(async () => {
    api = await testApi({ trustProxy: 1 });
  });
  afterAll(async () => {
    for (const socket of sockets) socket.destroy();
    await api.close();
  });

  /** Sends only the head of a request, from its own address. */
  function begin(address: string, length: string): void {
    const { hostname, port, host } = new URL(api.url);
    const socket = connect(Number(port), hostname, () =>
      socket.write(
        `POST /graphql HTTP/1.1\r\nHost: ${host}\r\nX-Forwarded-For: ${address}\r\nContent-Type: application/json\r\n${length}\r\n\r\n`,
      ),
    );
    socket.on('error', () => undefined); // the server may cut a connection that it has answered
    sockets.push(socket);
  }

  test.each(['Transfer-Encoding: chunked', 'Content-Length: 1048576', 'Content-Length: 65536'])(
    'keep no other client from signing in: %s',
    async (length) => {
      for (let n = 0; n < 200; n += 1) begin(`203.0.113.${n % 50}`, length);
      const answer = await query(
        api,
        'mutation { signIn(input: { email: "nobody@example.com", password: "not known here" }) { userErrors { code } } }',
        { headers: { 'x-forwarded-for': '192.0.2.1' } },
      );
      expect(codes(answer)).toEqual([]);
      expect(answer.data.signIn.userErrors).toEqual([{ code: 'BAD_CREDENTIALS' }]);
    },
  );
});
