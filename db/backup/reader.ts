import { END_OF_ROWS } from './format.ts';

/** A line of a header is short. A longer one means that this is no backup. */
const LINE_BYTES_MAX = 1024 * 1024;
const NEWLINE = 0x0a;
const END = Buffer.from(`\n${END_OF_ROWS}\n`);

/** The file is no backup, or a damaged one. The message is a sentence. */
export class BadBackup extends Error {}

/** Reads the lines and the rows of an uncompressed backup, piece by piece. */
export class BackupReader {
  readonly #pieces: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(pieces: AsyncIterable<Buffer>) {
    this.#pieces = pieces[Symbol.asyncIterator]();
  }

  async line(): Promise<string> {
    for (;;) {
      const end = this.#rest.indexOf(NEWLINE);
      if (end >= 0) {
        const line = this.#rest.toString('utf8', 0, end);
        this.#rest = this.#rest.subarray(end + 1);
        return line;
      }
      if (this.#rest.length > LINE_BYTES_MAX) throw new BadBackup('The file is no backup of Chronoverse.');
      await this.#more();
    }
  }

  /** The rows of the table whose line was read last, up to and without their end. */
  async *rows(): AsyncGenerator<Buffer> {
    // The end of rows may come at once, and then has no newline of a row before it.
    this.#rest = Buffer.concat([Buffer.from('\n'), this.#rest]);
    let isFirst = true;
    for (;;) {
      const end = this.#rest.indexOf(END);
      const until = end >= 0 ? end + 1 : Math.max(this.#rest.length - END.length + 1, 0);
      const rows = this.#rest.subarray(isFirst ? 1 : 0, until);
      if (until > 0) isFirst = false;
      if (rows.length > 0) yield rows;
      if (end >= 0) {
        this.#rest = this.#rest.subarray(end + END.length);
        return;
      }
      this.#rest = this.#rest.subarray(until);
      await this.#more();
    }
  }

  async #more(): Promise<void> {
    const { done, value } = await this.#pieces.next();
    if (done) throw new BadBackup('The backup ends in the middle: it was cut.');
    this.#rest = Buffer.concat([this.#rest, value]);
  }
}
