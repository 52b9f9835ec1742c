import { stripVTControlCharacters } from 'node:util';

/**
 * UTF-8 text that a terminal only shows. It leaves out control sequences (colors, titles, cursor
 * movements), and writes each control that stays as `\x1b`. Tabs, newlines and a carriage return
 * before a newline stay. Text without controls is returned as it is.
 */
export function terminalSafe(bytes: Buffer): Buffer {
  if (!hasControls(bytes)) return bytes;
  const text = bytes.toString('utf8');
  return Buffer.from(stripVTControlCharacters(text).replace(CONTROLS, escaped));
}

/**
 * All controls but tab and newline, including those of C1 (terminals obey them in UTF-8), and a
 * carriage return before text.
 */
const CONTROLS = /(?![\t\n\r])\p{Cc}|\r(?!\n)/gu;

function escaped(control: string): string {
  return `\\x${control.charCodeAt(0).toString(16).padStart(2, '0')}`;
}

const TAB = 0x09;
const NEWLINE = 0x0a;
const SPACE = 0x20;
const DEL = 0x7f;
const C1_LEAD = 0xc2; // C1 controls are 0xc2 0x80 to 0xc2 0x9f in UTF-8
const C1_TRAIL_MAX = 0x9f;

/** Looks at bytes, because most logs have no control and need no decoding. */
function hasControls(bytes: Buffer): boolean {
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at] ?? 0;
    if (byte < SPACE ? byte !== NEWLINE && byte !== TAB : byte === DEL) return true;
    if (byte === C1_LEAD && (bytes[at + 1] ?? DEL) <= C1_TRAIL_MAX) return true;
  }
  return false;
}
