import type { IncomingMessage } from 'node:http';
import type { Mask } from '../../../domain/masking/mask.ts';
import { CheckFailure } from './run.ts';

export const BODY_BYTES_MAX = 1024 * 1024;
const SHOWN_BYTES_MAX = 200;

/**
 * Reads a body and keeps only its beginning for messages, plus enough to find a text across two
 * pieces.
 */
export class BodyReader {
  bytes = 0;
  /** Whether the body read so far contains the wanted text. */
  found: boolean;
  private end: 'whole' | 'bound' | 'found' = 'whole';
  private beginning = Buffer.alloc(0);
  private tail = Buffer.alloc(0);
  private readonly wanted: Buffer;
  private readonly isWanting: boolean;
  private readonly mask: Mask | undefined;

  constructor(wanted: string | undefined, mask?: Mask) {
    this.mask = mask;
    this.wanted = Buffer.from(wanted ?? '');
    this.isWanting = this.wanted.length > 0;
    this.found = !this.isWanting;
  }

  async read(message: IncomingMessage): Promise<void> {
    try {
      for await (const piece of message) {
        this.take(piece);
        if (this.isWanting && this.found) this.end = 'found';
        else if (this.bytes >= BODY_BYTES_MAX) this.end = 'bound';
        if (this.end !== 'whole') break; // this destroys the message, and its socket
      }
    } catch (error) {
      const said = error instanceof Error ? error.message : String(error);
      throw new CheckFailure(
        `The body ended after ${this.bytes} bytes, before its end (${said}). A whole one was expected.`,
      );
    }
  }

  get described(): string {
    const what = { whole: 'bytes', bound: 'bytes read (more is not read)', found: 'bytes read (to the text expected)' };
    return `${this.bytes} ${what[this.end]}`;
  }

  /** The beginning of the body, quoted. */
  get shown(): string {
    const text = this.beginning.toString('utf8');
    return JSON.stringify(this.mask?.cutText(text) ?? text);
  }

  private take(piece: Buffer): void {
    const read = piece.subarray(0, BODY_BYTES_MAX - this.bytes);
    this.bytes += read.length;
    if (this.beginning.length < SHOWN_BYTES_MAX) {
      this.beginning = Buffer.concat([this.beginning, read.subarray(0, SHOWN_BYTES_MAX - this.beginning.length)]);
    }
    if (this.found) return;
    const searched = Buffer.concat([this.tail, read]);
    this.found = searched.includes(this.wanted);
    this.tail = searched.subarray(Math.max(0, searched.length - this.wanted.length + 1));
  }
}
