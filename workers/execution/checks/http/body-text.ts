import { KEPT_MAX } from '../quote.ts';
import { Bytes } from './bytes.ts';
import { type Charset, CharsetSearch } from './charset.ts';

/** What is looked for in the text of a body. */
export interface Wanted {
  /** Texts that are looked for piece by piece. */
  texts: readonly string[];
  /** How many bytes are kept. */
  keptBytes: number;
}

/** Enough for KEPT_MAX characters in most charsets, and for all that may name a charset. */
export const BEGINNING_BYTES_MAX = 2 * KEPT_MAX;
const FIRST_LOOK_BYTES = 64;
const DECODED_AT_ONCE_BYTES = 64 * 1024;
/** What a document is that names no charset. Browsers fall back to the second one. */
const UNNAMED_CHARSETS = ['utf-8', 'windows-1252'];

/**
 * The text of a body that comes piece by piece. A document that names its charset is read in it.
 * One of JSON is UTF-8 (RFC 8259). Any other is searched in both of UNNAMED_CHARSETS, and is text
 * of the first one if it is valid there. What is kept is kept as bytes, and decoded when asked for.
 */
export class BodyText {
  private charset: Charset | undefined;
  private searches: Search[];
  private readonly kept: Bytes;
  /** Whether no further byte can change the charset. */
  private isSettled = false;
  private isWhole = false;
  private nextLook = FIRST_LOOK_BYTES;
  private readonly charsets: CharsetSearch;
  private readonly wanted: Wanted;

  constructor(contentType: string | undefined, wanted: Wanted) {
    this.charsets = new CharsetSearch(contentType);
    this.wanted = wanted;
    this.kept = new Bytes(Math.max(BEGINNING_BYTES_MAX, wanted.keptBytes));
    this.charset = this.charsets.charsetOf(Buffer.alloc(0));
    this.searches = this.searchesIn(this.labels);
  }

  take(piece: Buffer): void {
    const before = this.isSettled ? undefined : this.kept.all;
    this.kept.add(piece);
    if (before !== undefined && this.looksAgain(before.length + piece.length)) this.search(before);
    this.search(piece);
  }

  /** With `isWhole`, a character that is cut at the end is U+FFFD. Otherwise it is left out. */
  end(isWhole: boolean): void {
    this.isWhole = isWhole;
    if (!this.isSettled && this.look()) this.search(this.kept.all);
    if (isWhole) for (const search of this.searches) search.end();
  }

  has(text: string): boolean {
    return this.searches.some((search) => search.found.has(text));
  }

  /** The first characters of what is kept. */
  text(charactersMax: number): string {
    return this.decoded(this.kept.all, charactersMax, this.isWhole);
  }

  /** The beginning of the text. */
  get beginning(): string {
    const all = this.kept.all;
    const isWhole = this.isWhole && all.length <= BEGINNING_BYTES_MAX;
    return this.decoded(all.subarray(0, BEGINNING_BYTES_MAX), KEPT_MAX, isWhole);
  }

  /** Its charset, for messages. Undefined when nothing names one. */
  get charsetName(): string | undefined {
    if (this.charset !== undefined) return this.charset.name;
    const unknown = this.charsets.named;
    return unknown === undefined ? undefined : `utf-8, as the charset ${unknown} is unknown`;
  }

  /** Whether the charset is another one now that `length` bytes have come. */
  private looksAgain(length: number): boolean {
    this.isSettled = this.charsets.isSettled(length);
    // Looks only each time that there is twice as much, or tiny pieces would cost much.
    if (!this.isSettled && length < this.nextLook) return false;
    this.nextLook = length * 2;
    return this.look();
  }

  private look(): boolean {
    const charset = this.charsets.charsetOf(this.kept.all);
    if (charset?.label === this.charset?.label) return false;
    this.charset = charset;
    this.searches = this.searchesIn(this.labels);
    return true;
  }

  private get labels(): string[] {
    if (this.charset !== undefined) return [this.charset.label];
    return this.charsets.isJson ? ['utf-8'] : UNNAMED_CHARSETS;
  }

  private searchesIn(labels: string[]): Search[] {
    return this.wanted.texts.length === 0 ? [] : labels.map((label) => new Search(label, this.wanted.texts));
  }

  private search(bytes: Buffer): void {
    for (const search of this.searches) search.take(bytes);
  }

  private decoded(bytes: Buffer, charactersMax: number, isWhole: boolean): string {
    const [first = 'utf-8', second] = this.labels;
    if (second === undefined) return decoded(new TextDecoder(first), bytes, charactersMax, isWhole);
    try {
      return decoded(new TextDecoder(first, { fatal: true }), bytes, charactersMax, isWhole);
    } catch {
      return decoded(new TextDecoder(second), bytes, charactersMax, isWhole);
    }
  }
}

/** The first characters of `bytes`. Decodes little more than those. */
function decoded(decoder: TextDecoder, bytes: Buffer, charactersMax: number, isWhole: boolean): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += DECODED_AT_ONCE_BYTES) {
    // As a stream from the first piece on: Node 20 decodes a whole text as Latin-1 when it is
    // windows-1252.
    text += decoder.decode(bytes.subarray(at, at + DECODED_AT_ONCE_BYTES), { stream: true });
    if (text.length >= charactersMax) return text.slice(0, charactersMax);
  }
  return isWhole ? (text + decoder.decode()).slice(0, charactersMax) : text;
}

/** Looks for texts in a body in one charset. */
class Search {
  readonly found = new Set<string>();
  private tail = '';
  private readonly decoder: TextDecoder;
  private readonly texts: readonly string[];
  private readonly tailLength: number;

  constructor(label: string, texts: readonly string[]) {
    this.decoder = new TextDecoder(label);
    this.texts = texts;
    this.tailLength = Math.max(0, ...texts.map((text) => text.length - 1));
  }

  take(bytes: Buffer): void {
    this.add(this.decoder.decode(bytes, { stream: true }));
  }

  end(): void {
    this.add(this.decoder.decode());
  }

  private add(text: string): void {
    if (text === '') return;
    const searched = this.tail + text;
    for (const one of this.texts) if (searched.includes(one)) this.found.add(one);
    this.tail = this.tailLength === 0 ? '' : searched.slice(-this.tailLength);
  }
}
