/** The types of frames that matter here (RFC 9113, section 6). */
export const TYPES = { DATA: 0, HEADERS: 1, RST_STREAM: 3, SETTINGS: 4, GOAWAY: 7, CONTINUATION: 9 } as const;
/** A flag of DATA and HEADERS. */
export const END_STREAM = 0x1;
/** A flag of HEADERS and CONTINUATION. */
export const END_HEADERS = 0x4;
const HEAD_BYTES = 9;

export interface Frame {
  type: number;
  flags: number;
  stream: number;
  /** Of its payload. */
  length: number;
}

/** A part of a frame. The first one is its head, and those behind it are its payload. */
export interface FramePart {
  frame: Frame;
  bytes: Buffer;
  isHead: boolean;
  isLast: boolean;
}

/** Takes bytes apart into the frames of HTTP/2. It keeps no more than the head of one. */
export class FrameReader {
  private head = Buffer.alloc(0);
  private frame: Frame | undefined;
  /** How much of the payload has not come yet. */
  private left = 0;

  *parts(piece: Buffer): Generator<FramePart> {
    for (let at = 0; at < piece.length; ) {
      if (this.frame === undefined) {
        const part = piece.subarray(at, at + HEAD_BYTES - this.head.length);
        at += part.length;
        this.head = Buffer.concat([this.head, part]);
        if (this.head.length < HEAD_BYTES) return;
        const bytes = this.head;
        this.frame = frameOf(bytes);
        this.left = this.frame.length;
        yield this.part(this.frame, bytes, true);
        continue;
      }
      const bytes = piece.subarray(at, at + this.left);
      at += bytes.length;
      this.left -= bytes.length;
      yield this.part(this.frame, bytes, false);
    }
  }

  private part(frame: Frame, bytes: Buffer, isHead: boolean): FramePart {
    const isLast = this.left === 0;
    if (isLast) {
      this.frame = undefined;
      this.head = Buffer.alloc(0);
    }
    return { frame, bytes, isHead, isLast };
  }
}

function frameOf(head: Buffer): Frame {
  return {
    length: head.readUIntBE(0, 3),
    type: head.readUInt8(3),
    flags: head.readUInt8(4),
    stream: head.readUInt32BE(5) & 0x7fffffff, // the first bit means nothing
  };
}
