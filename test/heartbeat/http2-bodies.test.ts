import { randomBytes } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { hasCommand } from '../support/servers.ts';
import {
  data,
  END_STREAM,
  ending,
  flood,
  frame,
  frameVisits,
  goaway,
  headers,
  OK,
  reset,
  sending,
  settings,
} from './http2-server.ts';
import { outcome, texts, until } from './support.ts';

const isMissing = !(await hasCommand('openssl', 'bodies over HTTP/2 that break off'));

describe.skipIf(isMissing)('a body over HTTP/2 that ends or breaks off', () => {
  const visit = frameVisits();

  const CUT: [what: string, send: (socket: TLSSocket) => void, why: RegExp][] = [
    ['an end', ending(settings(), headers(OK), data('hello', 0)), /\(the connection was closed\)/],
    [
      'a reset',
      sending(settings(), headers(OK), data('hello', 0), reset(2)),
      /\(it reset the stream \(INTERNAL_ERROR\)\)/,
    ],
    [
      'a goodbye',
      sending(settings(), headers(OK), data('hello', 0), goaway(2)),
      /\(it ended the connection \(INTERNAL_ERROR\)\)/,
    ],
    [
      'a length that a reset without an error cuts',
      sending(settings(), headers([...OK, ['content-length', '9']]), data('hello', 0), reset(0)),
      /\(it reset the stream \(NO_ERROR\)\)/,
    ],
  ];
  test.each(CUT)('says what has cut a body: %s', async (_, send, why) => {
    const message = outcome(await visit(send));
    expect(message).toMatch(/^CHECK_FAILED: The body ended after 5 bytes, before its end /);
    expect(message).toMatch(why);
  });

  test('fails a body of another length than it says', async () => {
    const send = sending(settings(), headers([...OK, ['content-length', '9']]), data('hello'));
    expect(outcome(await visit(send))).toMatch(/^CHECK_FAILED: .*it breaks the rules of HTTP\/2/);
  });

  test('reads a body to its end that waits for its turn while the connection breaks', async () => {
    const packed = [...OK, ['content-encoding', 'br']] satisfies typeof OK;
    const wants = { body_not_contains: 'nothing of this' };
    let asked = 0;
    const stall = (socket: TLSSocket) => {
      asked += 1;
      socket.write(Buffer.concat([settings(), headers(packed)]));
    };
    const slow = Array.from({ length: 12 }, () => visit(stall, { ...wants, timeout_seconds: 2 }, 'bob'));
    await until(() => asked === slow.length, 'the checks that take all turns of their user');
    const send = ending(settings(), headers(packed), data(brotliCompressSync('hello')), goaway(2));
    expect(outcome(await visit(send, wants, 'bob'))).toBe('ok');
    for (const one of await Promise.all(slow)) expect(outcome(one)).toMatch(/^TIMEOUT: /);
  });

  test('reads a long body to its end when the connection ends behind it', async () => {
    const packed = gzipSync(randomBytes(200_000));
    const pieces = Array.from({ length: Math.ceil(packed.length / 16_000) }, (_, n) => {
      const piece = packed.subarray(n * 16_000, (n + 1) * 16_000);
      return frame(0, (n + 1) * 16_000 < packed.length ? 0 : END_STREAM, 1, piece);
    });
    const send = (socket: TLSSocket) => {
      socket.write(Buffer.concat([settings(), frame(4, 1, 0)]));
      // Once the check has confirmed the settings: nothing that is unread makes the close a reset.
      let received = Buffer.alloc(0);
      const more = (piece: Buffer) => {
        received = Buffer.concat([received, piece]);
        if (!received.includes(frame(4, 1, 0))) return;
        socket.off('data', more);
        const last = Buffer.concat([headers([...OK, ['content-encoding', 'gzip']]), ...pieces, goaway(2)]);
        socket.write(last, () => socket.destroy());
      };
      socket.on('data', more);
    };
    for (let n = 0; n < 5; n += 1) {
      const result = await visit(send, { body_not_contains: 'nothing of this' });
      expect(outcome(result)).toBe('ok');
      expect(texts(result).at(-1)).toContain('200000 bytes decoded');
    }
  });

  test('bounds frames of a body that bring nothing', async () => {
    const send = (bytes: Buffer) => (socket: TLSSocket) => {
      flood(socket, Buffer.concat([settings(), headers(OK)]), bytes);
    };
    expect(outcome(await visit(send(data('', 0))))).toMatch(/\(more than 1000 frames beside those of the body\)/);
    const padded = frame(0, 0x8, 1, Buffer.concat([Buffer.from([250]), Buffer.alloc(250)]));
    expect(outcome(await visit(send(padded)))).toMatch(/\(more than 4194304 bytes\)/);
  });
});
