import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createDemultiplexer } from '../../platform/docker/demultiplexer.ts';

interface Frame {
  stream: number;
  payload: string;
}

function encode({ stream, payload }: Frame): Buffer {
  const bytes = Buffer.from(payload, 'latin1');
  const header = Buffer.from([stream, 0, 0, 0, 0, 0, 0, 0]);
  header.writeUInt32BE(bytes.length, 4);
  return Buffer.concat([header, bytes]);
}

function collect() {
  const frames: Frame[] = [];
  const demultiplexer = createDemultiplexer((stream, bytes, start, end) =>
    frames.push({ stream, payload: bytes.toString('latin1', start, end) }),
  );
  return { frames, demultiplexer };
}

const aFrame = fc.record({
  stream: fc.constantFrom(1, 2),
  payload: fc.oneof(
    fc.string({ unit: 'binary-ascii' }),
    fc.nat(40_000).map((length) => 'x'.repeat(length)),
  ),
});

test('frames come out complete and in order, wherever the stream is split', () => {
  fc.assert(
    fc.property(fc.array(aFrame, { maxLength: 20 }), fc.array(fc.nat(50_000)), (sent, sizes) => {
      const stream = Buffer.concat(sent.map(encode));
      const { frames, demultiplexer } = collect();
      let at = 0;
      for (const size of sizes) {
        demultiplexer.write(stream.subarray(at, at + size));
        at = Math.min(stream.length, at + size);
      }
      demultiplexer.write(stream.subarray(at));
      expect(frames).toEqual(sent);
      expect(demultiplexer.pendingBytes).toBe(0);
    }),
  );
});

test('frames come out the same if every byte arrives alone', () => {
  const sent = [
    { stream: 1, payload: 'a\n' },
    { stream: 2, payload: '' },
    { stream: 2, payload: 'b\0c' },
  ];
  const { frames, demultiplexer } = collect();
  for (const byte of Buffer.concat(sent.map(encode))) demultiplexer.write(Buffer.from([byte]));
  expect(frames).toEqual(sent);
});

test('many tiny frames in one chunk do not overflow the stack', () => {
  const { frames, demultiplexer } = collect();
  demultiplexer.write(Buffer.concat(Array.from({ length: 100_000 }, () => encode({ stream: 1, payload: '' }))));
  expect(frames).toHaveLength(100_000);
});

test('the bytes of an incomplete frame are kept and counted', () => {
  const { frames, demultiplexer } = collect();
  demultiplexer.write(encode({ stream: 1, payload: 'abcdef' }).subarray(0, 11));
  expect(frames).toEqual([]);
  expect(demultiplexer.pendingBytes).toBe(11);
});

test('a raw stream, such as that of a TTY, is refused with its bytes', () => {
  const { demultiplexer } = collect();
  expect(() => demultiplexer.write(Buffer.from('hello, world'))).toThrow('got the bytes 68656c6c6f2c2077');
});

test('a frame of an absurd length is refused at once', () => {
  const { demultiplexer } = collect();
  expect(() => demultiplexer.write(Buffer.from([1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]))).toThrow(
    "Expected a frame's header",
  );
});

test("an error of the engine within a log is thrown with the engine's message", () => {
  const { demultiplexer } = collect();
  expect(() => demultiplexer.write(encode({ stream: 3, payload: 'log is corrupt\n' }))).toThrow('log is corrupt');
});
