import { FairPlaces } from '../../../../platform/async/fair-places.ts';
import { quoted } from '../quote.ts';
import type { Run } from '../run.ts';
import { BEGINNING_BYTES_MAX, BodyText } from './body-text.ts';
import { contentTypeOf } from './charset.ts';
import { decodedBody, encodingsOf, Undecodable, undecodable } from './encodings.ts';
import { connectionFault } from './fault.ts';
import type { Head } from './head.ts';
import { textOf } from './header-text.ts';

/** Of a body, as it is received and as it is decoded. */
export const BODY_BYTES_MAX = 1024 * 1024;
/** How much of a body a check keeps without a place. Most bodies of JSON are shorter. */
const KEPT_FREELY_BYTES_MAX = 16 * 1024;
/** A body that is kept takes up to 2 MiB with the text of it that is matched: 256 MiB in all. */
const KEPT_BODIES_MAX = 128;
const KEPT_BODIES_PER_USER_MAX = 96;
const keptBodies = new FairPlaces({ places: KEPT_BODIES_MAX, perKey: KEPT_BODIES_PER_USER_MAX });

/** What is wanted of a body. When that is nothing, it is not even decoded. */
export interface BodyWants {
  /** Its beginning alone, for a message. */
  beginning?: boolean;
  /** A text. When nothing else is wanted, reading ends as soon as it is found. */
  contains?: string | undefined;
  /** A text that it must not have. */
  notContains?: string | undefined;
  /** The whole text. */
  whole?: boolean;
}

/**
 * Reads a body and keeps only its beginning for messages, plus enough to find a text across two
 * pieces.
 */
export class BodyReader {
  /** The bytes that came, and those that they decode to. */
  bytes = 0;
  decodedBytes = 0;
  /** Why the body cannot be decoded. */
  undecodable: string | undefined;
  private end: 'whole' | 'bound' | 'found' = 'whole';
  private fault: string | undefined;
  private hasPlace = false;
  private readonly encodings: string[];
  /** Undefined when the body is not decoded. */
  private readonly text: BodyText | undefined;
  private readonly wants: BodyWants;
  private readonly run: Run;

  constructor(run: Run, head: Head, wants: BodyWants) {
    this.run = run;
    this.wants = wants;
    this.encodings = encodingsOf(head);
    this.undecodable = undecodable(this.encodings);
    if (this.undecodable !== undefined || !Object.values(wants).some(Boolean)) return;
    this.text = new BodyText(contentTypeOf(head.headers.get('content-type')?.map(textOf) ?? []), {
      texts: [wants.contains, wants.notContains].flatMap((text) => text || []),
      keptBytes: wants.whole === true ? BODY_BYTES_MAX : 0,
    });
  }

  has(text: string): boolean {
    return this.text?.has(text) === true;
  }

  /** The first characters of the text, where the whole is wanted. */
  first(charactersMax = Number.POSITIVE_INFINITY): string {
    return this.text?.text(charactersMax) ?? '';
  }

  /** Whether there is more than is read. */
  get isBound(): boolean {
    return this.end === 'bound';
  }

  /** Why the body ended before its end. */
  get cut(): string | undefined {
    return this.end === 'whole' ? this.fault : undefined;
  }

  async read(framed: AsyncIterable<Buffer>): Promise<void> {
    const decoded = decodedBody(
      this.run,
      this.counted(framed),
      this.text === undefined ? [] : this.encodings,
      BODY_BYTES_MAX,
    );
    try {
      for await (const piece of decoded) {
        const read = piece.subarray(0, BODY_BYTES_MAX - this.decodedBytes);
        this.decodedBytes += read.length;
        await this.takePlace();
        this.text?.take(read);
        const bytesMax = this.wants.beginning && this.text ? BEGINNING_BYTES_MAX : BODY_BYTES_MAX;
        if (this.decodedBytes >= bytesMax) this.end = 'bound';
        if (this.isFound) this.end = 'found';
        if (this.end !== 'whole') break;
      }
    } catch (error) {
      if (!(error instanceof Undecodable)) throw error;
      this.undecodable = error.message;
    }
    this.text?.end(this.end === 'whole' && this.fault === undefined);
  }

  /** What has come of a body that is still being read. */
  get came(): string {
    const beginning = this.text?.beginning ? `, beginning ${this.shown}` : '';
    return `${this.bytes} bytes had come${beginning}`;
  }

  get size(): string {
    const how = { whole: '', bound: ' read (more is not read)', found: ' read (to the text expected)' }[this.end];
    return `${this.bytes} bytes${how}`;
  }

  /** Its encodings, its size without them, and its charset. */
  get manner(): string[] {
    if (this.text === undefined) return this.encodings;
    const charset = this.text.charsetName;
    if (this.encodings.length === 0) return charset === undefined ? [] : [charset];
    return [...this.encodings, `${this.decodedBytes} bytes decoded`, charset ?? 'utf-8'];
  }

  /** The beginning of the body, quoted. */
  get shown(): string {
    return quoted(this.run.context.mask, this.text?.beginning ?? '');
  }

  /** A long body that is kept takes a place until the check ends. */
  private async takePlace(): Promise<void> {
    if (this.hasPlace || this.wants.whole !== true || this.text === undefined) return;
    if (this.decodedBytes <= KEPT_FREELY_BYTES_MAX) return;
    this.hasPlace = true;
    await this.run.takePlaces(keptBodies, 1, 'a turn to keep a long body in memory');
  }

  /** Whether the rest of the body makes no difference. */
  private get isFound(): boolean {
    const { contains, notContains, whole } = this.wants;
    return Boolean(contains) && !notContains && whole !== true && this.has(contains ?? '');
  }

  private async *counted(framed: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    try {
      for await (const piece of framed) {
        const read = piece.subarray(0, BODY_BYTES_MAX - this.bytes);
        this.bytes += read.length;
        yield read;
        if (this.bytes < BODY_BYTES_MAX) continue;
        this.end = 'bound';
        return;
      }
    } catch (error) {
      this.fault = connectionFault(this.run, error); // what came before it is decoded all the same
    }
  }
}
