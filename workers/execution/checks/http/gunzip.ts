import { pipeline, type TransformOptions } from 'node:stream';
import zlib from 'node:zlib';

const MAGIC = Buffer.from([0x1f, 0x8b, 8]);
/** Of a member's header, before the texts that it may hold. */
const FIXED_BYTES = 10;
/** A checksum and a length, which browsers do not read either. */
const TRAILER_BYTES = 8;
const HEADER_BYTES_MAX = 64 * 1024;
/** Each takes a decoder, and may hold nothing. */
const MEMBERS_MAX = 200;
const FLAGS = { checksum: 2, extra: 4, name: 8, comment: 16 };

/**
 * Undoes gzip, one member after the other (RFC 1952). An end that is missing is tolerated, and what
 * follows the last member is ignored, as browsers do: Node's own Gunzip refuses a line break there,
 * and drops what it has decoded.
 */
export async function* gunzipped(body: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const pieces = new Pieces(body);
  try {
    for (let members = 0; ; members += 1) {
      const header = await takeHeader(pieces);
      if (header === 'none' && members === 0) throw new Error('incorrect header check (Z_DATA_ERROR)');
      if (header !== 'whole') break;
      if (members === MEMBERS_MAX) throw new Error(`it has more than ${MEMBERS_MAX} parts`);
      yield* inflated(pieces);
      await pieces.peek(TRAILER_BYTES);
      pieces.take(TRAILER_BYTES);
    }
    // The end of the body shows whether it is whole.
    for (let rest = await pieces.peek(1); rest.length > 0; rest = await pieces.peek(1)) pieces.take(rest.length);
  } finally {
    pieces.close();
  }
}

/** Takes a member's header: `none` when something else comes, `cut` when it does not end. */
async function takeHeader(pieces: Pieces): Promise<'whole' | 'none' | 'cut'> {
  for (let bytes = await pieces.peek(1); ; ) {
    const beginning = bytes.subarray(0, MAGIC.length);
    if (!beginning.equals(MAGIC.subarray(0, beginning.length))) return 'none';
    const length = headerLength(bytes);
    if (length !== undefined) {
      pieces.take(length);
      return 'whole';
    }
    if (bytes.length > HEADER_BYTES_MAX) return 'none';
    const more = await pieces.peek(bytes.length + 1);
    if (more.length === bytes.length) return 'cut';
    bytes = more;
  }
}

/** How long the header is that `bytes` begin with. Undefined when it goes on. */
function headerLength(bytes: Buffer): number | undefined {
  if (bytes.length < FIXED_BYTES) return undefined;
  const flags = bytes.readUInt8(3);
  let at = FIXED_BYTES;
  if (flags & FLAGS.extra) {
    if (bytes.length < at + 2) return undefined;
    at += 2 + bytes.readUInt16LE(at);
  }
  for (const flag of [FLAGS.name, FLAGS.comment]) {
    if (!(flags & flag)) continue;
    const end = bytes.indexOf(0, at);
    if (end === -1) return undefined;
    at = end + 1;
  }
  if (flags & FLAGS.checksum) at += 2;
  return at <= bytes.length ? at : undefined;
}

/** A piece is fed when the one before it is decoded: only the last one can be left over. */
const RAW: zlib.ZlibOptions & TransformOptions = {
  finishFlush: zlib.constants.Z_SYNC_FLUSH,
  writableHighWaterMark: 1,
};

/** One deflated stream. What follows it stays in `pieces`. */
async function* inflated(pieces: Pieces): AsyncGenerator<Buffer> {
  let fed = 0;
  let last: Buffer = Buffer.alloc(0);
  const inflate = zlib.createInflateRaw(RAW);
  async function* feed() {
    for (;;) {
      const piece = await pieces.peek(1);
      if (piece.length === 0 || inflate.bytesWritten < fed) return;
      pieces.take(piece.length);
      fed += piece.length;
      last = piece;
      yield piece;
    }
  }
  try {
    yield* pipeline(feed(), inflate, () => undefined);
    pieces.putBack(last.subarray(last.length - (fed - inflate.bytesWritten)));
  } finally {
    inflate.destroy();
  }
}

/** Pieces that can be looked at and put back. */
class Pieces {
  private kept: Buffer = Buffer.alloc(0);
  private reading: Promise<boolean> | undefined;
  private readonly rest: AsyncIterator<Buffer>;

  constructor(body: AsyncIterable<Buffer>) {
    this.rest = body[Symbol.asyncIterator]();
  }

  /** At least so many of the next bytes, fewer at the end. They come again until they are taken. */
  async peek(bytes: number): Promise<Buffer> {
    while (this.kept.length < bytes && (await this.read()));
    return this.kept;
  }

  take(bytes: number): void {
    this.kept = this.kept.subarray(bytes);
  }

  putBack(piece: Buffer): void {
    this.kept = Buffer.concat([piece, this.kept]);
  }

  /** Nothing more is read. What is being read is not waited for. */
  close(): void {
    void this.rest.return?.();
  }

  /** Reads a piece, one at a time. False at the end. */
  private read(): Promise<boolean> {
    this.reading ??= this.rest
      .next()
      .then(({ done, value }) => {
        if (!done) this.kept = Buffer.concat([this.kept, value]);
        return !done;
      })
      .finally(() => {
        this.reading = undefined;
      });
    return this.reading;
  }
}
