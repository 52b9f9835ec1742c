import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Closed } from './fault.ts';
import { type Frames, SentFrames } from './http2-frames.ts';
import { Receiver } from './receiver.ts';

export interface Http2Listener {
  isFull: () => boolean;
  onEnd: (fault?: unknown) => void;
}

/** node:http2 has given the connection up, with a code of HTTP/2. */
export class Refusal extends Error {
  readonly http2Code: number;
  constructor(code: number) {
    super();
    this.http2Code = code;
  }
}

/**
 * A socket as node:http2 sees it: without what `frames` keeps. node:http2 never learns that the
 * connection has ended. `onEnd` does, once all that came before has gone on. While it `isFull`,
 * nothing is read.
 */
export class Http2Transport extends Duplex {
  private readonly receiver: Receiver;
  private readonly socket: Socket;
  private readonly frames: Frames;
  private readonly sent = new SentFrames();
  private readonly isFull: () => boolean;
  private readonly onEnd: (fault?: unknown) => void;
  private isHeld = false;

  constructor(socket: Socket, frames: Frames, { isFull, onEnd }: Http2Listener) {
    super();
    this.socket = socket;
    this.receiver = new Receiver(socket);
    this.frames = frames;
    this.isFull = isFull;
    this.onEnd = onEnd;
    this.on('error', () => undefined); // the socket has it too
  }

  /** Reads nothing behind the end: that the connection breaks there is no fault. */
  override _read(): void {
    if (this.frames.end !== undefined) return;
    if (this.isFull()) this.isHeld = true;
    else void this.forward();
  }

  /** Goes on after what made it full has been read. */
  readOn(): void {
    if (!this.isHeld) return;
    this.isHeld = false;
    this._read();
  }

  /**
   * Done at once: node:http2 reads nothing while a write waits, and a server may answer before it
   * has read the request. That a write fails is no end: what the server said last may still come.
   */
  override _write(bytes: Buffer, _: string, done: () => void): void {
    this.sent.take(bytes);
    if (!this.socket.destroyed) this.socket.write(bytes);
    done();
    const { refusal } = this.sent;
    if (refusal !== undefined) this.onEnd(new Refusal(refusal));
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.socket.destroy();
    done(error);
  }

  /** Until something has gone on: then node:http2 asks again. */
  private async forward(): Promise<void> {
    try {
      for (;;) {
        const piece = await this.receiver.next();
        if (piece === undefined) throw new Closed();
        const passed = this.frames.take(piece);
        if (passed.length > 0) this.push(Buffer.concat(passed));
        if (this.frames.end !== undefined) break;
        if (passed.length > 0) return;
      }
      await nextTurn(); // node:http2 says in this turn what it has read
      this.onEnd();
    } catch (error) {
      await nextTurn();
      this.onEnd(error);
    }
  }
}
