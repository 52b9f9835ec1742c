/**
 * How far a document is searched for its charset. Browsers look at the first 1,024 bytes at least.
 */
export const CHARSET_SEARCHED_BYTES = 4 * 1024;

export interface Charset {
  /** As the document names it. */
  name: string;
  /** What reads it: a name that TextDecoder knows. */
  label: string;
}

/** A longer Content-Type is cut: nothing that it may say is so long. */
const CONTENT_TYPE_LENGTH_MAX = 1024;

/** Finds the charset that a browser reads a document of a Content-Type in. */
export class CharsetSearch {
  /** What the Content-Type names, known or not. */
  readonly named: string | undefined;
  readonly isJson: boolean;
  private readonly given: Charset | undefined;
  private readonly isXml: boolean;
  private readonly isMarkup: boolean;

  constructor(contentType: string | undefined) {
    const type = contentType?.slice(0, CONTENT_TYPE_LENGTH_MAX);
    this.named = namedIn(type);
    this.given = known(this.named);
    const [media = ''] = type?.split(';') ?? [];
    this.isJson = /[/+]json\s*$/i.test(media);
    this.isXml = /xml/i.test(media);
    this.isMarkup = type === undefined || this.isXml || /html/i.test(media);
  }

  /**
   * The charset of a document by its byte order mark, its Content-Type, its `<meta charset>` or its
   * XML declaration, in this order. XML has no such `<meta>`. Undefined when nothing says it.
   */
  charsetOf(beginning: Buffer): Charset | undefined {
    const mark = byteOrderMark(beginning);
    if (mark !== undefined) return { name: mark, label: mark };
    if (this.given !== undefined || !this.isMarkup) return this.given;
    const text = beginning.toString('latin1', 0, CHARSET_SEARCHED_BYTES);
    if (text.startsWith('<\0?\0')) return { name: 'utf-16le', label: 'utf-16le' };
    if (text.startsWith('\0<\0?')) return { name: 'utf-16be', label: 'utf-16be' };
    const meta = this.isXml ? undefined : known(inMeta(withoutComments(text)));
    const found = meta ?? known(XML.exec(text)?.[1]);
    // These bytes were read as ASCII, so they are not UTF-16.
    return found?.label.startsWith('utf-16') ? { name: 'utf-8', label: 'utf-8' } : found;
  }

  /** Whether no byte after the first `length` can change the charset. */
  isSettled(length: number): boolean {
    if (length >= CHARSET_SEARCHED_BYTES) return true;
    return length >= MARK_BYTES_MAX && (!this.isMarkup || this.given !== undefined);
  }
}

/** The value of its first parameter `charset`, without quotes and what a proxy adds. */
function namedIn(contentType: string | undefined): string | undefined {
  for (const [, name = '', quoted, bare = ''] of (contentType ?? '').matchAll(PARAMETER)) {
    if (name.toLowerCase() !== 'charset') continue;
    return (quoted ?? bare.replace(/[\s,].*$/s, '')).replaceAll(/['"]/g, '').trim() || undefined;
  }
  return undefined;
}

/** A quote may lack its end. */
const PARAMETER = /;\s*([^\s;="]+)\s*=\s*(?:"([^"]*)"?|([^;]*))/g;

/** Of several Content-Types the last, with the charset of an earlier one of the same kind. */
export function contentTypeOf(values: readonly string[]): string | undefined {
  const mediaOf = (value: string) => value.split(';', 1)[0]?.trim().toLowerCase();
  const last = values.at(-1);
  if (last === undefined || namedIn(last) !== undefined) return last;
  return [...values].reverse().find((one) => mediaOf(one) === mediaOf(last) && namedIn(one) !== undefined) ?? last;
}

const XML = /^\s*<\?xml\s[^>]*?encoding\s*=\s*["']([^"'>]+)["']/i;
/** With its attributes, in quotes or not. */
const META = /<meta[\s/]((?:[^>"']|"[^"]*"|'[^']*')*)/gi;
const ATTRIBUTE = /([^\s=>"'/]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]*))/g;
const CHARSET_IN_CONTENT = /charset\s*=\s*["']?\s*([^\s"';]+)/i;

/** What the first `<meta>` says that names a charset, by itself or in place of a Content-Type. */
function inMeta(text: string): string | undefined {
  for (const [, attributes = ''] of text.matchAll(META)) {
    const all = new Map<string, string>();
    for (const [, name = '', double, single, bare] of attributes.matchAll(ATTRIBUTE))
      all.set(name.toLowerCase(), (double ?? single ?? bare?.replace(/\/$/, '') ?? '').trim());
    const isContentType = all.get('http-equiv')?.toLowerCase() === 'content-type';
    const named = all.get('charset') ?? (isContentType ? CHARSET_IN_CONTENT.exec(all.get('content') ?? '')?.[1] : '');
    if (named) return named;
  }
  return undefined;
}
const MARK_BYTES_MAX = 3;

function withoutComments(text: string): string {
  const [first = '', ...rest] = text.split('<!--');
  return first + rest.map((part) => part.split('-->').slice(1).join('-->')).join('');
}

function byteOrderMark(beginning: Buffer): string | undefined {
  const hex = beginning.toString('hex', 0, 3);
  if (hex === 'efbbbf') return 'utf-8';
  if (hex.startsWith('feff')) return 'utf-16be';
  return hex.startsWith('fffe') ? 'utf-16le' : undefined;
}

function known(name: string | undefined): Charset | undefined {
  if (name === undefined) return undefined;
  const label = /^x-user-defined$/i.test(name) ? 'windows-1252' : name;
  try {
    return { name, label: new TextDecoder(label).encoding };
  } catch {
    return undefined; // no browser knows it either
  }
}
