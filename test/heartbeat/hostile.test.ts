import http from 'node:http';
import { describe, expect, test } from 'vitest';
import { check, listening, outcome, raw, texts, until } from './support.ts';

describe('a heartbeat against a misbehaving server', () => {
  test('reads an endless body only up to its limit', async () => {
    let sent = 0;
    const { host } = await listening(
      http.createServer((_, response) => {
        const piece = Buffer.alloc(64 * 1024, 'x');
        const more = () => {
          while (!response.destroyed && response.write(piece)) sent += piece.length;
        };
        response.on('drain', more);
        more();
      }),
    );
    const result = await check({ endpoint: `http://${host}/` });
    expect(outcome(result)).toBe('ok');
    expect(texts(result).at(-1)).toContain('1048576 bytes read (more is not read)');
    const missing = await check({ endpoint: `http://${host}/`, body_contains: 'pong' });
    expect(outcome(missing)).toMatch(/1048576 bytes read \(more is not read\).*"pong" was expected/);
    expect(sent).toBeLessThan(64 * 1024 * 1024);
    // For a message the beginning is enough.
    expect(outcome(await check({ endpoint: `http://${host}/`, expected_status: [201] }))).toMatch(
      /answered 200 OK\. 201 was expected\. Its body \(\d{4,5} bytes read \(more is not read\)\) begins "x+"\.$/,
    );
  });

  test('times out on a server that never answers, and says what it was waiting for', async () => {
    const { host } = await raw((socket) => socket.resume());
    const results = ['http', 'https'].map((scheme) => check({ endpoint: `${scheme}://${host}/`, timeout_seconds: 1 }));
    expect((await Promise.all(results)).map(outcome)).toEqual([
      `TIMEOUT: Timed out after 1 s waiting for the first byte of the response to GET ${host}.`,
      `TIMEOUT: Timed out after 1 s waiting for the TLS handshake with ${host}.`,
    ]);
  });

  test('times out on headers and bodies that drip', async () => {
    const drip = (start: string) =>
      raw((socket) => {
        socket.resume().write(start);
        const timer = setInterval(() => socket.write('x'), 20);
        socket.once('close', () => clearInterval(timer));
      });
    const headers = await drip('HTTP/1.1 200 OK\r\nx-slow: ');
    const hints = await raw((socket) => void socket.resume().write('HTTP/1.1 103 Early Hints\r\n\r\n'));
    const body = await drip('HTTP/1.1 200 OK\r\n\r\n');
    const visit = ({ host }: { host: string }, condition = {}) =>
      check({ endpoint: `http://${host}/`, timeout_seconds: 1, ...condition });
    const results = [visit(headers), visit(hints), visit(body), visit(body, { body_contains: 'pong' })];
    expect((await Promise.all(results)).map(outcome)).toEqual(
      [
        /^TIMEOUT: .*the rest of the headers of the response to GET \S+; \d+ bytes had come, beginning "HTTP\/1\.1 200 OK\\r\\nx-slow: x+"\.$/,
        /waiting for the first byte of the response to GET \S+ after 103 Early Hints\.$/,
        /^TIMEOUT: .*the rest of the body of the response \(200 OK\) to GET \S+; \d+ bytes had come\.$/,
        /^TIMEOUT: .* \d+ bytes had come, beginning "x+"\.$/,
      ].map((message) => expect.stringMatching(message)),
    );
  });

  test('fails on endless headers, in size or in number, and on an answer that is not HTTP', async () => {
    const talk = (text: string) => raw((socket) => socket.resume().write(text));
    const bombs = [
      `HTTP/1.1 200 OK\r\nx: ${'a'.repeat(1_000_000)}`,
      `HTTP/1.1 200 OK\r\n${'x: y\r\n'.repeat(100_000)}`,
      'HTTP/1.1 100 Continue\r\n\r\n'.repeat(1_000),
      'SSH-2.0-OpenSSH_9.6\r\n',
      'HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcde',
    ];
    for (const bomb of bombs) {
      const { host } = await talk(bomb);
      expect(outcome(await check({ endpoint: `http://${host}/` }))).toMatch(
        /^CHECK_FAILED: No response to GET .* was expected\.$/,
      );
    }
  });

  test('fails on a reset before the response, and on an end within it', async () => {
    const reset = await raw((socket) => void socket.once('data', () => socket.resetAndDestroy()));
    expect(outcome(await check({ endpoint: `http://${reset.host}/` }))).toMatch(
      /^CHECK_FAILED: No response .*ECONNRESET/,
    );
    const closed = await raw((socket) => void socket.once('data', () => socket.end()));
    expect(outcome(await check({ endpoint: `http://${closed.host}/` }))).toMatch(
      /^CHECK_FAILED: No response .*the connection was closed before a byte came/,
    );
    const cut = await raw(
      (socket) => void socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc')),
    );
    expect(outcome(await check({ endpoint: `http://${cut.host}/` }))).toMatch(
      /^CHECK_FAILED: The body ended after 3 bytes, before its end \(the connection was closed\)/,
    );
    const torn = await raw(
      (socket) =>
        void socket.once('data', () =>
          socket.write('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc', () => socket.resetAndDestroy()),
        ),
    );
    // libuv reports a reset as an end when it comes with the last bytes.
    const ended = 'the connection was (reset \\(ECONNRESET\\)|closed)';
    const result = await check({ endpoint: `http://${torn.host}/` });
    expect(outcome(result)).toMatch(
      new RegExp(`^CHECK_FAILED: The body ended after 3 bytes, before its end \\(${ended}\\)`),
    );
    expect(texts(result).at(-2)).toMatch(
      new RegExp(`^200 OK: first byte after [\\d.]+ ms, 3 bytes after [\\d.]+ ms, then ${ended}\\.$`),
    );
  });

  test('writes nothing into a line or message that a log or database cannot hold', async () => {
    const { host } = await raw(
      (socket) => void socket.once('data', () => socket.end('HTTP/1.1 500 a\tb\r\nlocation: /\x80\x00\r\n\r\n\0')),
    );
    const result = await check({ endpoint: `http://${host}/` });
    for (const text of [outcome(result), ...texts(result)]) expect(text).not.toMatch(/\p{Cc}/u);
    const long = await listening(
      http.createServer((_, response) => response.writeHead(500, { location: 'x'.repeat(9_000) }).end()),
    );
    expect(outcome(await check({ endpoint: `http://${long.host}/` })).length).toBeLessThan(1_100);
  });

  test('ends at once when its caller aborts, whatever it waits for', async () => {
    let connections = 0;
    const { host } = await raw((socket) => {
      socket.resume();
      connections += 1;
    });
    const abort = new AbortController();
    const checks = Array.from({ length: 20 }, () =>
      check({ endpoint: `http://${host}/`, timeout_seconds: 300 }, { signal: abort.signal }),
    );
    await until(() => connections === 20, 'the connections');
    abort.abort();
    expect(new Set((await Promise.all(checks)).map(outcome))).toEqual(
      new Set(['SYSTEM: The check was stopped before it ended.']),
    );
    expect(outcome(await check({ endpoint: `http://${host}/` }, { signal: abort.signal }))).toMatch(/^SYSTEM/);
  });
});
