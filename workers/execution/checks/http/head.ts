import { type HeaderBytes, textOf } from './header-text.ts';

/** The head of a response: its status line and its headers. */
export interface Head {
  status: number;
  /** For example "503 Service Unavailable". */
  statusLine: string;
  /** The values of each header by its name in lower case. */
  headers: ReadonlyMap<string, HeaderBytes[]>;
}

/** How much of a status line a message shows. */
export const STATUS_LINE_LENGTH_MAX = 100;

const STATUS_LINE = /^(?:HTTP\/\d+(?:\.\d+)?|ICY)[ \t]+([1-9]\d{2})(?!\d)[ \t]*(.*)$/is;

/**
 * Reads a head as browsers and curl do, which accept more than the standard allows: lines that end
 * in LF alone, control characters but NUL, blanks before a colon, folded lines, lines that are no
 * header, `HTTP/2 200`, and a status without a reason. Undefined for anything else.
 */
export function parseHead(bytes: Buffer): Head | undefined {
  if (bytes.includes(0)) return undefined;
  const [first = '', ...lines] = linesOf(bytes.toString('latin1'));
  const [, status, reason = ''] = STATUS_LINE.exec(first) ?? [];
  if (status === undefined) return undefined;
  const headers = new Map<string, HeaderBytes[]>();
  let last: HeaderBytes[] = [];
  for (const line of lines) {
    if (/^[ \t]/.test(line)) {
      const folded = last.pop(); // the line goes on with the header before it
      if (folded !== undefined) last.push(`${folded} ${line.trim()}`.trim());
      continue;
    }
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(0, colon)).trim().toLowerCase();
    if (name === '') continue;
    last = headers.get(name) ?? [];
    headers.set(name, last);
    last.push(line.slice(colon + 1).trim());
  }
  return { status: Number(status), statusLine: `${status} ${textOf(reason)}`.trim(), headers };
}

/** Whether `bytes` can be the beginning of a head. */
export function mayBeHead(bytes: Buffer): boolean {
  const text = bytes.toString('latin1');
  const [line = '', ...rest] = linesOf(text);
  if (rest.length > 0) return STATUS_LINE.test(line);
  return ['HTTP/', 'ICY '].some((name) => line.slice(0, name.length).toUpperCase() === name.slice(0, line.length));
}

/**
 * Where the head ends in `text`: behind its first blank line. Some servers write CR CR LF.
 */
export function endOfHead(text: HeaderBytes): number | undefined {
  const found = /\n\r{0,2}\n/.exec(text);
  return found === null ? undefined : found.index + found[0].length;
}

/** How many of the last bytes of a piece an end of the head can begin with. */
export const END_BYTES_MAX = 3;

function linesOf(text: HeaderBytes): HeaderBytes[] {
  return text.split(/\r{0,2}\n/);
}

/** The parts of a header that is a list, such as `gzip, chunked`, in lower case. */
export function listOf({ headers }: Head, name: string): string[] {
  return (headers.get(name) ?? [])
    .flatMap((value) => value.split(','))
    .map((part) => part.trim().toLowerCase())
    .filter((part) => part !== '');
}
