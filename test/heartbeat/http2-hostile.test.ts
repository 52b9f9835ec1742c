import type { TLSSocket } from 'node:tls';
import { describe, expect, test } from 'vitest';
import { hasCommand } from '../support/servers.ts';
import {
  block,
  data,
  END_HEADERS,
  END_STREAM,
  ending,
  flood,
  frame,
  frameVisits,
  goaway,
  headers,
  numbers,
  OK,
  reset,
  sending,
  settings,
} from './http2-server.ts';
import { outcome, texts, until } from './support.ts';

const isMissing = !(await hasCommand('openssl', 'hostile servers of HTTP/2'));

describe.skipIf(isMissing)('a server of HTTP/2 that breaks the rules', () => {
  const visit = frameVisits();
  const noise: [string, string][] = [['x-noise', 'n'.repeat(8_000)]];
  const early: [string, string][] = [[':status', '103']];
  const pushed = Buffer.concat([numbers(2), block([[':method', 'GET']])]);

  const OK_ALL_THE_SAME: [what: string, send: (socket: TLSSocket) => void][] = [
    ['a whole response, then an error of the connection', ending(settings(), headers(OK), data('hello'), goaway(2))],
    ['a whole response, then a reset', ending(settings(), headers(OK), data('hello'), reset(8))],
    [
      'a whole response, then bytes of no protocol',
      ending(settings(), headers(OK), data('hello'), Buffer.alloc(99, 255)),
    ],
    [
      'a goodbye before the response',
      sending(settings(), goaway(0, 2 ** 31 - 1), goaway(0), headers(OK), data('hello')),
    ],
    ['a body that a reset without an error ends', sending(settings(), headers(OK), data('hello', 0), reset(0))],
    [
      'byte after byte',
      (socket) => {
        for (const byte of Buffer.concat([settings(), headers(OK), data('hello')])) socket.write(Buffer.from([byte]));
      },
    ],
    [
      'trailers',
      sending(settings(), headers(OK), data('hello', 0), headers([['x-end', '1']], END_HEADERS | END_STREAM)),
    ],
    [
      'trailers in two frames',
      sending(
        settings(),
        headers(OK),
        data('hello', 0),
        headers([['x-end', '1']], END_STREAM),
        frame(9, END_HEADERS, 1, block(noise)),
      ),
    ],
    [
      'a push before it knows that we want none',
      sending(
        settings(),
        frame(5, END_HEADERS, 1, pushed),
        frame(0, 0, 2, Buffer.alloc(99)),
        headers(OK),
        data('hello'),
      ),
    ],
    [
      'frames that nobody knows',
      sending(settings(), frame(0xaa, 255, 77, Buffer.alloc(50)), headers(OK), data('hello')),
    ],
    [
      '248 KiB of headers',
      sending(
        settings(),
        frame(1, 0, 1, block(OK)),
        ...Array.from({ length: 7 }, (_, n) =>
          frame(9, n === 6 ? END_HEADERS : 0, 1, block([...noise, ['x-more', 'm'.repeat(8_000)]])),
        ),
        data('hello'),
      ),
    ],
  ];
  test.each(OK_ALL_THE_SAME)('succeeds all the same: %s', async (_, send) => {
    const result = await visit(send, { body_not_contains: 'nothing of this' });
    expect(outcome(result)).toBe('ok');
    expect(texts(result).at(-1)).toMatch(/^200 OK over HTTP\/2: .* 5 bytes after /);
  });

  const NO_RESPONSE: [what: string, send: (socket: TLSSocket) => void, why: RegExp][] = [
    [
      'HTTP/1.1',
      ending(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')),
      /^an answer that is not HTTP\/2, beginning "HTTP\/1\.1 400 Bad Request/,
    ],
    ['an end at once', (socket) => socket.end(), /^the connection was closed$/],
    ['an end within the headers', ending(settings(), headers(OK).subarray(0, 12)), /^the connection was closed$/],
    ['a reset', sending(settings(), reset(7)), /^it reset the stream \(REFUSED_STREAM\)$/],
    ['a reset without an error', sending(settings(), reset(0)), /^it reset the stream \(NO_ERROR\)$/],
    ['a reset with a code of its own', sending(settings(), reset(4_711)), /^it reset the stream \(code 4711\)$/],
    ['a goodbye that refuses the request', sending(settings(), goaway(0, 0)), /^it ended the connection \(NO_ERROR\)$/],
    [
      'a goodbye with a reason',
      sending(settings(), goaway(11, 1, 'too many pings')),
      /^it ended the connection \(ENHANCE_YOUR_CALM\), saying "too many pings"$/,
    ],
    [
      'a push',
      sending(settings(), frame(4, 1, 0), frame(5, END_HEADERS, 1, pushed)),
      /^it breaks the rules of HTTP\/2 \(.+\)$/,
    ],
    [
      'a name in capitals',
      sending(settings(), headers([...OK, ['X-Big', '1']])),
      /^it breaks the rules of HTTP\/2 \(.+\)$/,
    ],
    [
      'a header of HTTP/1',
      sending(settings(), headers([...OK, ['connection', 'close']])),
      /^it breaks the rules of HTTP\/2 \(.+\)$/,
    ],
    [
      'a switch of protocols',
      sending(settings(), headers([[':status', '101']])),
      /^it breaks the rules of HTTP\/2 \(.+\)$/,
    ],
    ['no status', sending(settings(), headers([['x-a', '1']])), /^it breaks the rules of HTTP\/2 \(.+\)$/],
    [
      'bytes that are not HPACK',
      sending(settings(), frame(1, END_HEADERS, 1, Buffer.alloc(9, 255))),
      /^it breaks the rules of HTTP\/2 \(.+\)$/,
    ],
    [
      'a frame that is too long',
      sending(settings(), frame(1, END_HEADERS, 1, Buffer.alloc(20_000))),
      /^it breaks the rules of HTTP\/2 \(.+\)$/,
    ],
    [
      'a window beyond all bounds',
      sending(settings(), frame(8, 0, 0, numbers(2 ** 31 - 1))),
      /^it breaks the rules of HTTP\/2 \(.+\)$/,
    ],
    [
      'many early responses',
      sending(settings(), ...Array<Buffer>(17).fill(headers(early))),
      /^more than 16 informational ones$/,
    ],
    [
      'long headers',
      sending(
        settings(),
        frame(1, 0, 1, block(OK)),
        // An entry of the table, which one byte repeats.
        frame(
          9,
          END_HEADERS,
          1,
          Buffer.concat([Buffer.from([0x40]), block([['x', 'y'.repeat(3_000)]]).subarray(1), Buffer.alloc(100, 0xbe)]),
        ),
      ),
      /^headers of more than 262144 bytes/,
    ],
    [
      'a bomb of headers',
      sending(
        settings(),
        frame(1, 0, 1, block(OK)),
        frame(
          9,
          END_HEADERS,
          1,
          Buffer.concat([
            Buffer.from([0x40]),
            block([['x', 'y'.repeat(3_000)]]).subarray(1),
            Buffer.alloc(12_000, 0xbe),
          ]),
        ),
      ),
      /^headers of more than 262144 bytes/,
    ],
    [
      'many headers',
      sending(settings(), headers([...OK, ...Array<[string, string]>(2_001).fill(['x', 'y'])])),
      /^headers of more than 262144 bytes, or more than 2000 headers$/,
    ],
    [
      'headers without an end',
      (socket) => {
        flood(socket, Buffer.concat([settings(), frame(1, 0, 1, block(OK))]), frame(9, 0, 1, block(noise)));
      },
      /^(it breaks the rules of HTTP\/2|headers of more than|more than)/,
    ],
    [
      'pings without an end',
      (socket) => flood(socket, settings(), frame(6, 0, 0, Buffer.alloc(8))),
      /^more than 1000 frames beside those of the body$/,
    ],
    [
      'settings without an end',
      (socket) => flood(socket, settings(), settings()),
      /^more than 1000 frames beside those of the body$/,
    ],
    [
      'windows without an end',
      (socket) => flood(socket, settings(), frame(8, 0, 0, numbers(1))),
      /^more than 1000 frames beside those of the body$/,
    ],
    [
      'long frames that nobody knows',
      (socket) => flood(socket, settings(), frame(0xaa, 0, 0, Buffer.alloc(16_000))),
      /^more than (4194304 bytes|1000 frames)/,
    ],
  ];
  test.each(NO_RESPONSE)('says what it met: %s', async (_, send, why) => {
    const message = outcome(await visit(send));
    expect(message).toMatch(/^CHECK_FAILED: No response to GET 127\.0\.0\.1:\d+: .*\. A response was expected\.$/);
    expect(
      message.replace(/^CHECK_FAILED: No response to \S+ \S+: /, '').replace('. A response was expected.', ''),
    ).toMatch(why);
  });

  test('asks again over HTTP/1.1 where the server ends the connection for that', async () => {
    const message = outcome(await visit(sending(settings(), goaway(0xd))));
    expect(message).toMatch(/^CHECK_FAILED: No TLS with \S+: it does not speak HTTP\/1\.1, perhaps only HTTP\/2 /);
  });

  test('reads headers whose bytes are not ASCII', async () => {
    const moved = Buffer.from('/grün').toString('latin1');
    const send = sending(
      settings(),
      headers(
        [
          [':status', '302'],
          ['location', moved],
        ],
        END_HEADERS | END_STREAM,
      ),
    );
    const result = await visit(send, { max_redirects: 1 });
    expect(outcome(result)).toMatch(/ redirected more than once, at last to \/grün\./);
    expect(texts(result)).toContainEqual(expect.stringMatching(/^Redirected to https:\/\/\S+\/gr%C3%BCn\.$/));
  });

  test('succeeds where the server answers without reading the request', async () => {
    const send = (socket: TLSSocket) => {
      socket.pause();
      const wide = Buffer.from([0, 4, 0x7f, 0xff, 0xff, 0xff]);
      socket.write(Buffer.concat([settings(wide), frame(8, 0, 0, numbers(2 ** 30))]));
      setTimeout(() => {
        socket.write(Buffer.concat([headers([[':status', '413']]), data('too long')]));
        socket.resume();
      }, 100);
    };
    const body = 'x'.repeat(16 * 1024 * 1024);
    expect(outcome(await visit(send, { method: 'POST', body, expected_status: [413] }))).toBe('ok');
  });

  const SILENT: [what: string, send: (socket: TLSSocket) => void, waited: RegExp][] = [
    ['nothing', () => undefined, /the first byte of the response to POST \S+, whose body/],
    [
      'a window of zero',
      sending(settings(Buffer.from([0, 4, 0, 0, 0, 0]))),
      /the first byte of the response to POST \S+, whose body the server has not taken whole/,
    ],
    ['no stream at all', sending(settings(Buffer.from([0, 3, 0, 0, 0, 0]))), /the first byte of the response/],
    [
      'headers that stop',
      sending(settings(), headers(OK).subarray(0, 13)),
      /the rest of the headers of the response to POST \S+; 4 bytes had come/,
    ],
    [
      'a body that stops',
      sending(settings(), headers(OK), data('hello', 0)),
      /the rest of the body of the response \(200 OK\) to POST \S+; 5 bytes had come/,
    ],
  ];
  test('ends with the deadline', async () => {
    const payload = { timeout_seconds: 2, method: 'POST', body: 'x'.repeat(200_000) } as const;
    const results = await Promise.all(SILENT.map(([, send]) => visit(send, payload)));
    for (const [n, [what, , waited]] of SILENT.entries()) {
      const message = results[n] && outcome(results[n]);
      expect(message, what).toMatch(/^TIMEOUT: Timed out after 2 s waiting for /);
      expect(message, what).toMatch(waited);
    }
  });

  test('leaves no timer and no socket when it ends', async () => {
    const held = () =>
      process.getActiveResourcesInfo().filter((name) => /Timeout|TLSWrap|TCPSocket|Immediate/.test(name));
    const before = held().length;
    for (const send of [
      sending(settings()),
      sending(settings(), headers(OK)),
      sending(settings(), headers(OK), data('hello')),
      sending(settings(), reset(1)),
      sending(settings(), frame(4, 1, 0), frame(5, END_HEADERS, 1, pushed)),
    ])
      await visit(send, { timeout_seconds: 0.3 });
    await until(() => held().length <= before, 'the sockets and timers to be gone');
  });
});
