import { KEPT_MAX } from '../quote.ts';
import { Bytes } from './bytes.ts';
import { END_HEADERS, END_STREAM, type Frame, FrameReader, TYPES } from './http2-frame-reader.ts';

/** A connection has one request, so one stream, and it is the client's first. */
const STREAM = 1;
/** Of a GOAWAY, before what it says for people. */
const GOAWAY_BYTES = 8;

/** All that a server may send: heads of 256 KiB, a body of 1 MiB, and how it is framed. */
export const RECEIVED_BYTES_MAX = 4 * 1024 * 1024;
/** Of frames that bring nothing of a body: settings, pings, window updates, heads. */
export const OTHER_FRAMES_MAX = 1_000;

/** Why no further frame of a server is read. WHOLE: the response has ended as it should. */
export type FramesEnd =
  | { by: 'WHOLE' }
  | { by: 'RESET'; code: number }
  | { by: 'GOAWAY'; code: number; says: Buffer }
  | { by: 'NOT_HTTP2' }
  | { by: 'TOO_MUCH'; what: string };

/**
 * Watches the frames of a server on their way to node:http2, and bounds them: pings and the like
 * cost work, and node:http2 does not count them. What ends the response stays here, because
 * node:http2 drops a body that nobody has read yet when a stream or a connection breaks.
 */
export class Frames {
  /** When the response began (performance.now()), and how much of heads has come. */
  headersAt: number | undefined;
  headersBytes = 0;
  end: FramesEnd | undefined;
  private readonly reader = new FrameReader();
  private readonly first = new Bytes(KEPT_MAX);
  private bytes = 0;
  private others = 0;
  private isFirst = true;
  /** The payload of a frame that stays here. */
  private kept = new Bytes(0);
  /** Whether the response ends with the headers that are coming. */
  private endsWithHeaders = false;

  /** The first bytes that came, for a message. */
  get beginning(): Buffer {
    return this.first.all;
  }

  /** What of `piece` goes on to node:http2. */
  take(piece: Buffer): Buffer[] {
    this.first.add(piece);
    this.bytes += piece.length;
    const passed: Buffer[] = [];
    for (const { frame, bytes, isHead, isLast } of this.reader.parts(piece)) {
      if (isHead) this.begin(frame);
      else if (isOfHeaders(frame)) this.headersBytes += bytes.length;
      if (this.end !== undefined) break;
      if (!staysHere(frame)) passed.push(bytes);
      else if (!isHead) this.kept.add(bytes);
      if (isLast) this.end = this.endBy(frame);
      if (this.end !== undefined) break;
    }
    if (this.bytes > RECEIVED_BYTES_MAX) this.end ??= { by: 'TOO_MUCH', what: `${RECEIVED_BYTES_MAX} bytes` };
    return passed;
  }

  private begin(frame: Frame): void {
    if (this.isFirst && frame.type !== TYPES.SETTINGS) this.end = { by: 'NOT_HTTP2' };
    this.isFirst = false;
    if (frame.type !== TYPES.DATA || frame.length === 0) this.others += 1;
    if (this.others > OTHER_FRAMES_MAX)
      this.end = { by: 'TOO_MUCH', what: `${OTHER_FRAMES_MAX} frames beside those of the body` };
    if (isOfHeaders(frame)) this.headersAt ??= performance.now();
    if (staysHere(frame)) this.kept = new Bytes(GOAWAY_BYTES + KEPT_MAX);
  }

  /** What a frame ends that has come whole. */
  private endBy(frame: Frame): FramesEnd | undefined {
    const { type, flags, stream } = frame;
    if (staysHere(frame)) return endSaid(type, this.kept.all);
    if (stream !== STREAM) return undefined;
    const isEnd = (flags & END_STREAM) !== 0;
    if (type === TYPES.DATA) return isEnd ? { by: 'WHOLE' } : undefined;
    if (type === TYPES.HEADERS) this.endsWithHeaders = isEnd;
    else if (type !== TYPES.CONTINUATION) return undefined;
    return this.endsWithHeaders && (flags & END_HEADERS) !== 0 ? { by: 'WHOLE' } : undefined;
  }
}

function isOfHeaders({ type, stream }: Frame): boolean {
  return stream === STREAM && (type === TYPES.HEADERS || type === TYPES.CONTINUATION);
}

/** Those of a wrong length go on: node:http2 refuses them. */
function staysHere({ type, stream, length }: Frame): boolean {
  if (type === TYPES.RST_STREAM) return stream === STREAM && length === 4;
  return type === TYPES.GOAWAY && length >= GOAWAY_BYTES;
}

/**
 * What a RST_STREAM or a GOAWAY ends. A server that stops without an error still answers the
 * requests that it has taken.
 */
function endSaid(type: number, payload: Buffer): FramesEnd | undefined {
  if (type === TYPES.RST_STREAM) return { by: 'RESET', code: payload.readUInt32BE(0) };
  const lastStream = payload.readUInt32BE(0) & 0x7fffffff;
  const code = payload.readUInt32BE(4);
  if (lastStream >= STREAM && code === 0) return undefined;
  return { by: 'GOAWAY', code, says: payload.subarray(GOAWAY_BYTES) };
}

/** Of the client: what it sends before its frames. */
const PREFACE_BYTES = 24;

/**
 * Watches what node:http2 sends. When a server breaks the rules of a connection, node:http2 says so
 * to the server alone, by a GOAWAY, and then waits for ever.
 */
export class SentFrames {
  /** The code by which node:http2 has given the connection up. */
  refusal: number | undefined;
  private readonly reader = new FrameReader();
  private preface = PREFACE_BYTES;
  private payload = new Bytes(0);

  take(piece: Buffer): void {
    const frames = piece.subarray(this.preface);
    this.preface -= piece.length - frames.length;
    for (const { frame, bytes, isHead, isLast } of this.reader.parts(frames)) {
      if (frame.type !== TYPES.GOAWAY) continue;
      if (isHead) this.payload = new Bytes(GOAWAY_BYTES);
      else this.payload.add(bytes);
      if (!isLast || this.payload.all.length < GOAWAY_BYTES) continue;
      const code = this.payload.all.readUInt32BE(4);
      if (code !== 0) this.refusal ??= code;
    }
  }
}
