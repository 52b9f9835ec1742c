/** The first bytes of something that comes piece by piece, in one buffer: pieces may be tiny. */
export class Bytes {
  private buffer = Buffer.alloc(0);
  private length = 0;
  private readonly max: number;

  constructor(max: number) {
    this.max = max;
  }

  /** What is kept so far. It stays as it is when more is added. */
  get all(): Buffer {
    return this.buffer.subarray(0, this.length);
  }

  add(piece: Buffer): void {
    const read = piece.subarray(0, this.max - this.length);
    const length = this.length + read.length;
    if (length > this.buffer.length) {
      const larger = Buffer.alloc(Math.min(this.max, Math.max(length, 2 * this.buffer.length)));
      this.all.copy(larger);
      this.buffer = larger;
    }
    read.copy(this.buffer, this.length);
    this.length = length;
  }
}
