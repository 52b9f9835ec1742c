/** A line with the length of a chunk and its extensions. */
const LINE_BYTES_MAX = 16 * 1024;

/** Takes the chunks of a body apart (RFC 9112, section 7.1). Lines may end in LF alone. */
export class Chunks {
  /** Whether the last chunk has come. What follows it is not needed. */
  isEnded = false;
  /** How many bytes of the current chunk have not come yet. */
  private left = 0;
  private line = '';
  private next: 'length' | 'line break' = 'length';

  /** Why what follows is no chunk. */
  fault: string | undefined;

  /** The bytes of the body in `piece`, up to its end or a fault. */
  take(piece: Buffer): Buffer {
    const parts: Buffer[] = [];
    for (let at = 0; at < piece.length && !this.isEnded && this.fault === undefined; ) {
      if (this.left > 0) {
        const part = piece.subarray(at, at + this.left);
        parts.push(part);
        this.left -= part.length;
        at += part.length;
        continue;
      }
      const end = piece.indexOf(0x0a, at);
      this.line += piece.toString('latin1', at, end === -1 ? piece.length : end);
      if (this.line.length > LINE_BYTES_MAX) this.fault = 'a chunk has a line without an end';
      if (end === -1) break;
      at = end + 1;
      this.endLine(this.line.trim());
      this.line = '';
    }
    const [only] = parts;
    return parts.length === 1 && only !== undefined ? only : Buffer.concat(parts);
  }

  private endLine(line: string): void {
    if (this.next === 'line break') {
      if (line !== '') this.fault = 'a chunk is longer than it says';
      this.next = 'length';
      return;
    }
    const length = /^([0-9a-f]+)(?:[ \t;].*)?$/is.exec(line)?.[1];
    if (length === undefined) {
      this.fault = 'a chunk does not begin with its length';
      return;
    }
    this.left = Number.parseInt(length, 16);
    this.isEnded = this.left === 0;
    this.next = 'line break';
  }
}
