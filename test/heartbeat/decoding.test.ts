import zlib from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { answering, check, outcome, raw, response, texts } from './support.ts';

const PAGE = Buffer.from(`<p>${'All systems are up. '.repeat(2_000)}</p><p>größer — 100 €</p>`);
const WANTED = 'größer — 100 €';

describe('a heartbeat of an encoded page', () => {
  test.each([
    ['gzip', zlib.gzipSync(PAGE)],
    ['x-gzip', zlib.gzipSync(PAGE)],
    ['GZIP', zlib.gzipSync(PAGE)],
    ['deflate', zlib.deflateSync(PAGE)],
    ['deflate', zlib.deflateRawSync(PAGE)],
    ['br', zlib.brotliCompressSync(PAGE)],
    ['gzip, br', zlib.brotliCompressSync(zlib.gzipSync(PAGE))],
    ['identity', PAGE],
    ['utf-8', PAGE],
    ['constructor', PAGE],
  ])('finds a text behind %s', async (encoding, body) => {
    const { endpoint } = await answering(response([`Content-Encoding: ${encoding}`], body));
    expect(outcome(await check({ endpoint, body_contains: WANTED }))).toBe('ok');
    expect(outcome(await check({ endpoint, body_not_contains: WANTED }))).toMatch(/that contains "größer/);
  });

  test('asks for what browsers ask for, and names the encoding in lines and messages', async () => {
    const body = zlib.gzipSync(PAGE);
    const { endpoint, requests } = await answering(
      response(['Content-Encoding: gzip', 'Content-Type: text/html; charset=UTF-8'], body),
    );
    const result = await check({ endpoint, body_contains: 'pong' });
    expect(outcome(result)).toContain(
      `with a body (${body.length} bytes, gzip, ${PAGE.length} bytes decoded, UTF-8) that begins "<p>All systems`,
    );
    expect(texts(result).at(-2)).toMatch(
      /^200 OK: .*, \d+ bytes after [\d.]+ ms \(gzip, \d+ bytes decoded, UTF-8\)\.$/,
    );
    expect(requests[0]).toMatch(/\r\naccept-encoding: gzip, deflate, br\r\n/);
  });

  test('undoes an encoding of the transfer, within chunks of any size', async () => {
    const pieces = [...zlib.gzipSync(PAGE)].map((byte) => Buffer.from([0x31, 0x0d, 0x0a, byte, 0x0d, 0x0a]));
    const head = Buffer.from('HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n');
    const { endpoint } = await answering(Buffer.concat([head, ...pieces, Buffer.from('0\r\n\r\n')]));
    expect(outcome(await check({ endpoint, body_contains: WANTED }))).toBe('ok');
  });

  test('reads each member of gzip, wherever it is cut, and ignores what follows the last', async () => {
    const halves = [PAGE.subarray(0, 20_000), PAGE.subarray(20_000), Buffer.alloc(0)].map((half) =>
      zlib.gzipSync(half),
    );
    const named = Buffer.concat([
      Buffer.from('1f8b081e00000000000303000102036e616d6500', 'hex'), // all that a header can hold
      Buffer.from('comment\0XY'),
      zlib.deflateRawSync(PAGE),
      Buffer.alloc(8),
    ]);
    for (const members of [Buffer.concat(halves), named])
      for (const rest of ['\r\n', 'behind', '\0\0', '\x1f\x8b\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff']) {
        const body = Buffer.concat([members, Buffer.from(rest, 'latin1')]);
        const { host } = await raw(async (socket) => {
          socket.resume().setNoDelay(true).write('HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n');
          for (let at = 0; at < body.length; at += 7)
            await new Promise<void>((resolve) => socket.write(body.subarray(at, at + 7), () => setImmediate(resolve)));
          socket.end();
        });
        expect(outcome(await check({ endpoint: `http://${host}/`, body_contains: WANTED }))).toBe('ok');
        const whole = await answering(response(['Content-Encoding: gzip'], body));
        expect(outcome(await check({ endpoint: whole.endpoint, body_not_contains: 'pong' }))).toBe('ok');
        expect(outcome(await check({ endpoint: whole.endpoint, body_matches: '100 €</p>$' }))).toBe('ok');
      }
  });

  test('does not undo more than 200 members of gzip, nor a header that never ends', async () => {
    const many = Buffer.concat(Array<Buffer>(201).fill(zlib.gzipSync('')));
    const { endpoint } = await answering(response(['Content-Encoding: gzip'], many));
    expect(outcome(await check({ endpoint, body_contains: 'x' }))).toMatch(/is not gzip: it has more than 200 parts\./);
    const header = Buffer.concat([Buffer.from('1f8b0808000000000003', 'hex'), Buffer.alloc(900_000, 'x')]);
    const long = await answering(response(['Content-Encoding: gzip'], header));
    expect(outcome(await check({ endpoint: long.endpoint, body_contains: 'x' }))).toMatch(/it is not gzip/);
  });

  test('tolerates a missing end, as browsers do, and reads nothing as nothing', async () => {
    const whole = zlib.gzipSync(PAGE);
    const short = await answering(response(['Content-Encoding: gzip'], whole.subarray(0, whole.length - 8)));
    expect(outcome(await check({ endpoint: short.endpoint, body_contains: WANTED }))).toBe('ok');
    for (const encoding of ['gzip', 'deflate', 'br']) {
      const { endpoint } = await answering(response([`Content-Encoding: ${encoding}`], Buffer.alloc(0)));
      expect(outcome(await check({ endpoint, body_contains: 'x' }))).toContain(
        `with a body (0 bytes, ${encoding}, 0 bytes decoded, utf-8) that begins "".`,
      );
    }
  });

  test('says of a body that it cannot decode why not', async () => {
    const wrong = await answering(response(['Content-Encoding: gzip'], PAGE));
    expect(outcome(await check({ endpoint: wrong.endpoint, body_contains: 'x' }))).toMatch(
      /^CHECK_FAILED: .* that cannot be read: it is not gzip: incorrect header check \(Z_DATA_ERROR\)\. One that contains "x" was expected\.$/,
    );
    const unknown = await answering(response(['Content-Encoding: zstd'], PAGE, '500 No'));
    expect(outcome(await check({ endpoint: unknown.endpoint }))).toMatch(
      /Its body \(\d+ bytes, zstd\) cannot be read: no check can decode zstd\.$/,
    );
    // A check of the status alone reads no text.
    expect(outcome(await check({ endpoint: wrong.endpoint }))).toBe('ok');
  });

  test('lets no user take all the brotli decoders, whose memory is large', async () => {
    const beginning = zlib.brotliCompressSync(PAGE).subarray(0, 20);
    const { host } = await raw((socket) => {
      socket.resume().write('HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\n');
      socket.write(beginning);
    });
    const controller = new AbortController();
    const slow = { endpoint: `http://${host}/`, body_contains: 'pong' };
    const others = Array.from({ length: 12 }, () => check(slow, { userId: 'ann', signal: controller.signal }));
    const waits = await check({ ...slow, timeout_seconds: 1 }, { userId: 'ann' });
    expect(outcome(waits)).toBe(
      'SYSTEM: Timed out after 1 s waiting for a turn to decode a body in brotli. This worker has too much to do.',
    );
    const page = await answering(response(['Content-Encoding: br'], zlib.brotliCompressSync(PAGE)));
    const wanted = { endpoint: page.endpoint, body_contains: WANTED, timeout_seconds: 5 };
    expect(outcome(await check(wanted, { userId: 'bob' }))).toBe('ok');
    controller.abort();
    await Promise.all(others);
    expect(outcome(await check(wanted, { userId: 'ann' }))).toBe('ok');
  });

  test('lets no user take all the memory for bodies', async () => {
    const { host } = await raw((socket) => {
      socket.resume().write(`HTTP/1.1 200 OK\r\n\r\n${'x'.repeat(20_000)}`);
    });
    const controller = new AbortController();
    const slow = { endpoint: `http://${host}/`, body_matches: 'pong', timeout_seconds: 60 };
    const others = Array.from({ length: 97 }, () => check(slow, { userId: 'ann', signal: controller.signal }));
    const waits = await check({ ...slow, timeout_seconds: 2 }, { userId: 'ann' });
    expect(outcome(waits)).toBe(
      'SYSTEM: Timed out after 2 s waiting for a turn to keep a long body in memory. This worker has too much to do.',
    );
    const page = await answering(response([], PAGE));
    const wanted = { endpoint: page.endpoint, body_matches: WANTED, timeout_seconds: 5 };
    expect(outcome(await check(wanted, { userId: 'bob' }))).toBe('ok');
    controller.abort();
    await Promise.all(others);
    expect(outcome(await check(wanted, { userId: 'ann' }))).toBe('ok');
  });

  test('finds a text in an encoded stream that never ends, as soon as it comes', async () => {
    const { host } = await raw((socket) => {
      const gzip = zlib.createGzip();
      gzip.on('data', (piece: Buffer) => socket.write(piece));
      socket.resume().write('HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n');
      socket.once('close', () => gzip.destroy());
      gzip.write('data: pong\n\n');
      gzip.flush();
    });
    const result = await check({ endpoint: `http://${host}/`, body_contains: 'pong', timeout_seconds: 300 });
    expect(outcome(result)).toBe('ok');
    expect(texts(result).at(-1)).toContain('read (to the text expected)');
  });
});

describe('a heartbeat of a decompression bomb', () => {
  const zeros = zlib.gzipSync(Buffer.alloc(200 * 1024 * 1024));
  // Empty blocks: half a gigabyte that decodes to nothing.
  const blocks = zlib.gzipSync(Buffer.alloc(200 * 1024 * 1024, Buffer.from([0, 0, 0, 0xff, 0xff])));

  test.each([
    ['once', 'gzip', zeros],
    ['twice', 'gzip, gzip', zlib.gzipSync(zeros)],
    ['with nothing in it', 'deflate, gzip', blocks],
  ])('decodes no more than its limit: %s', async (_, encoding, bomb) => {
    const { endpoint } = await answering(response([`Content-Encoding: ${encoding}`], bomb));
    const before = process.memoryUsage().rss;
    const result = await check({ endpoint, body_contains: 'pong' });
    expect(outcome(result)).toMatch(
      /^CHECK_FAILED: .* (1048576|0) bytes decoded, utf-8\).* One that contains "pong" was expected\.$/,
    );
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1024 * 1024);
  });

  test('does not undo more than five encodings', async () => {
    const { endpoint } = await answering(response(['Content-Encoding: gzip, gzip, gzip, gzip, gzip, gzip'], zeros));
    expect(outcome(await check({ endpoint, body_contains: 'x' }))).toMatch(/it is encoded more than 5 times/);
  });
});
