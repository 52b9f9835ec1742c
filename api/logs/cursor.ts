import { badCursor } from '../paging.ts';

/**
 * The place of a line: the job or build, and the line number. It is valid in any process for as
 * long as the log is kept.
 */
export function logCursor(sourceId: string, number: number): string {
  const bytes = Buffer.alloc(CURSOR_BYTES);
  bytes.write(sourceId.replaceAll('-', ''), 'hex');
  bytes.writeUInt32BE(number, ID_BYTES);
  return bytes.toString('base64url');
}

/**
 * `logCursor` for consecutive lines of one log. 65,536 lines share all but the last three
 * characters of their cursors.
 */
export function lineCursors(sourceId: string): (number: number) => string {
  let block: number | undefined;
  let head = '';
  return (number) => {
    if (number >>> 16 !== block) {
      block = number >>> 16;
      head = logCursor(sourceId, number).slice(0, -TAIL_LENGTH);
    }
    return `${head}${base64url(number >> 10)}${base64url(number >> 4)}${base64url(number << 2)}`;
  };
}

/**
 * The line number of `cursor`. Throws BAD_REQUEST if the cursor is malformed or belongs to another
 * log.
 */
export function logCursorNumber(sourceId: string, cursor: string): number {
  const bytes = Buffer.from(cursor, 'base64url');
  if (bytes.length !== CURSOR_BYTES || bytes.toString('base64url') !== cursor) throw badCursor();
  if (bytes.toString('hex', 0, ID_BYTES) !== sourceId.replaceAll('-', '')) throw badCursor();
  const number = bytes.readUInt32BE(ID_BYTES);
  if (number > NUMBER_MAX) throw badCursor();
  return number;
}

/** The base64url digit of the lowest six bits. */
function base64url(bits: number): string {
  return 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'.charAt(bits & 0x3f);
}

const TAIL_LENGTH = 3; // 16 bits
const ID_BYTES = 16;
const CURSOR_BYTES = ID_BYTES + 4;
// The column is a signed 32-bit integer, and the number of the next line must fit too.
const NUMBER_MAX = 0x7fff_fffe;
