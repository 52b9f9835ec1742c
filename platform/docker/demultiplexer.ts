/**
 * Cuts the engine's multiplexed stream into frames. A frame has a header of 8 bytes (1 stdout or 2
 * stderr, three zeros, the length as a big-endian number), then the payload. Chunks may split a
 * frame anywhere. A frame is passed on as a range of a buffer that is never written again, so that
 * a frame costs no allocation. dockerode's own `demuxStream` recurses per frame and has no
 * back-pressure.
 */
export interface Demultiplexer {
  /** Passes on every frame that `chunk` completes. Throws if the bytes are no such stream. */
  write(chunk: Buffer): void;
  /** Bytes of an incomplete frame. */
  readonly pendingBytes: number;
}

export type OnFrame = (stream: StreamType, bytes: Buffer, start: number, end: number) => void;

export const STDOUT = 1;
export const STDERR = 2;
export type StreamType = typeof STDOUT | typeof STDERR;

const STDIN = 0; // some engines write 0 for stdout when they answer attach
const ENGINE_ERROR = 3;
const HEADER_BYTES = 8;
/**
 * The engine's frames hold a line of at most 16 KiB and its timestamp. A longer frame than this
 * shows that the stream is not multiplexed.
 */
const FRAME_BYTES_MAX = 1024 * 1024;

/** The engine reports within a log that it cannot read it further. */
export class EngineLogError extends Error {
  override readonly name = 'EngineLogError';
}

export function createDemultiplexer(onFrame: OnFrame): Demultiplexer {
  const header = Buffer.alloc(HEADER_BYTES);
  let headerBytes = 0;
  let frame: Buffer | undefined; // a frame that is split over chunks
  let frameBytes = 0;

  function deliver(type: number, bytes: Buffer, start: number, end: number): void {
    if (type === STDOUT || type === STDERR) onFrame(type, bytes, start, end);
    else if (type === STDIN) onFrame(STDOUT, bytes, start, end);
    else
      throw new EngineLogError(
        `The engine reports an error within the log: ${bytes.toString('utf8', start, end).trim()}`,
      );
  }

  return {
    get pendingBytes() {
      return frame === undefined ? headerBytes : HEADER_BYTES + frameBytes;
    },

    write(chunk) {
      let at = 0;
      while (at < chunk.length) {
        if (frame === undefined && headerBytes === 0 && chunk.length - at >= HEADER_BYTES) {
          const end = at + HEADER_BYTES + payloadBytes(chunk, at);
          if (end <= chunk.length) {
            // Nearly every frame arrives whole, and needs no copy.
            deliver(chunk[at] ?? ENGINE_ERROR, chunk, at + HEADER_BYTES, end);
            at = end;
            continue;
          }
        }
        if (frame === undefined) {
          const copied = chunk.copy(header, headerBytes, at, at + HEADER_BYTES - headerBytes);
          headerBytes += copied;
          at += copied;
          if (headerBytes < HEADER_BYTES) return;
          frame = Buffer.allocUnsafe(payloadBytes(header, 0));
          frameBytes = 0;
        }
        const copied = chunk.copy(frame, frameBytes, at);
        frameBytes += copied;
        at += copied;
        if (frameBytes < frame.length) return;
        const complete = frame;
        frame = undefined;
        headerBytes = 0;
        deliver(header[0] ?? ENGINE_ERROR, complete, 0, complete.length);
      }
    },
  };
}

/**
 * The payload's length, from the header at `at`. Checks the header first, because the stream of a
 * Tty is raw and has none.
 */
function payloadBytes(bytes: Buffer, at: number): number {
  const length = bytes.readUInt32BE(at + 4);
  const known = bytes.readUInt32BE(at) >>> 0;
  const isHeader = (known & 0x00ffffff) === 0 && known >>> 24 <= ENGINE_ERROR;
  if (!isHeader || length > FRAME_BYTES_MAX)
    throw new Error(`Expected a frame's header, got the bytes ${bytes.toString('hex', at, at + HEADER_BYTES)}.`);
  return length;
}
