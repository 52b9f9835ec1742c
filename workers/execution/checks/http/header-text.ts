import { isUtf8 } from 'node:buffer';

/** A header as its bytes, one character a byte. */
export type HeaderBytes = string;

/** The text of a header: UTF-8 where its bytes are that, otherwise Latin-1. */
export function textOf(bytes: HeaderBytes): string {
  const buffer = Buffer.from(bytes, 'latin1');
  return isUtf8(buffer) ? buffer.toString() : bytes;
}

/** The bytes of a text, in UTF-8. */
export function bytesOf(text: string): HeaderBytes {
  return Buffer.from(text).toString('latin1');
}

/** The text of the beginning of something. A character that is cut at its end is left out. */
export function beginningOf(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes, { stream: true });
  } catch {
    return bytes.toString('latin1'); // not UTF-8
  }
}

/**
 * A reference that a header holds, such as a Location, as it is asked for: each byte that is not
 * ASCII is percent-encoded, whatever it stands for. Browsers and curl do the same.
 */
export function referenceOf(bytes: HeaderBytes): string {
  return bytes.replace(/[\x80-\xff]/g, (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase()}`);
}
