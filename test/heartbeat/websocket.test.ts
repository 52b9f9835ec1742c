import { createServer } from 'node:http';
import { describe, expect, test } from 'vitest';
import { WebSocketServer } from 'ws';
import { answering, check, listening, outcome, texts } from './support.ts';

describe('a heartbeat of a WebSocket', () => {
  test('opens one with its headers and closes it, also behind a redirect', async () => {
    const seen: unknown[] = [];
    const server = createServer((_, response) => response.writeHead(302, { location: '/socket' }).end());
    server.on('upgrade', ({ url }) => seen.push(url));
    const { host } = await listening(server);
    const sockets = new WebSocketServer({ server, path: '/socket' });
    const closed = new Promise((resolve) => {
      sockets.once('connection', (socket, { headers }) => {
        seen.push(headers['x-token']);
        socket.once('close', resolve);
      });
    });
    const result = await check({ endpoint: `http://${host}/socket`, websocket: true, headers: { 'X-Token': 'abc' } });
    expect(outcome(result)).toBe('ok');
    expect(texts(result).at(-1)).toMatch(/^101 Switching Protocols/);
    expect(seen).toEqual(['/socket', 'abc']);
    expect(await closed).toBe(1005); // a close frame without a code, not a lost connection
  });

  test('follows a redirect, and says what was answered instead', async () => {
    const page = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello';
    const { host, endpoint, requests } = await answering('HTTP/1.1 301 Moved\r\nLocation: /a\r\n\r\n', page);
    expect(outcome(await check({ endpoint, websocket: true }))).toBe(
      `CHECK_FAILED: GET http://${host}/a answered 200 OK. 101 was expected. Its body (5 bytes) begins "hello".`,
    );
    for (const request of requests) expect(request).toMatch(/\r\nsec-websocket-key: [\w+/]{22}==\r\n/);
    for (const request of requests) expect(request).toMatch(/\r\nconnection: Upgrade\r\n/);
  });

  test.each([
    ['', 'without the header "Upgrade: websocket"'],
    ['Upgrade: WebSocket\r\nConnection: close\r\n', 'without the header "Connection: Upgrade"'],
    [
      'Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Accept: x\r\n',
      'without the Sec-WebSocket-Accept that answers the key',
    ],
  ])('refuses an upgrade to something else', async (headers, said) => {
    const { endpoint } = await answering(`HTTP/1.1 101 Switching Protocols\r\n${headers}\r\n`);
    expect(outcome(await check({ endpoint, websocket: true }))).toContain(`answered 101 Switching Protocols ${said}`);
  });
});
