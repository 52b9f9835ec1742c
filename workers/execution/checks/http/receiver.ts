import type { Socket } from 'node:net';

/** What a socket receives, piece by piece. A piece can be put back. */
export class Receiver {
  bytes = 0;
  /** When the first byte came (performance.now()). */
  firstAt: number | undefined;
  private putBack: Buffer | undefined;
  private readonly pieces: AsyncIterator<Buffer>;

  constructor(socket: Socket) {
    this.pieces = socket[Symbol.asyncIterator]();
  }

  /**
   * The next piece, undefined after the last one. Rejects with the socket's error, and when the
   * socket is destroyed.
   */
  async next(): Promise<Buffer | undefined> {
    if (this.putBack !== undefined) {
      const piece = this.putBack;
      this.putBack = undefined;
      return piece;
    }
    const { done, value } = await this.pieces.next();
    if (done) return undefined;
    this.firstAt ??= performance.now();
    this.bytes += value.length;
    return value;
  }

  /** The next call of `next` returns `piece`, the rest of the last one. */
  unread(piece: Buffer): void {
    if (piece.length > 0) this.putBack = piece;
  }
}
