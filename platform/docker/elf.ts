/** What an ELF file says of the machine that it is for. */
export interface Machine {
  /** `e_machine` */
  number: number;
  bits?: 32 | 64;
  order?: 'LITTLE' | 'BIG';
  /** `e_flags` */
  flags?: number;
}

const BASE = 0x400000;
const PAGE = 0x1000;

/**
 * An ELF file of one segment that holds `code` (hex). With it, no image is needed on the engine,
 * and no program of an author runs.
 */
export function elf({ number, bits = 64, order = 'LITTLE', flags = 0 }: Machine, code: string): Buffer {
  const text = Buffer.from(code, 'hex');
  const wide = bits === 64;
  const [headBytes, segmentBytes] = wide ? [0x40, 0x38] : [0x34, 0x20];
  const start = headBytes + segmentBytes;
  const file = Buffer.alloc(start);
  let at = 0;
  const write = (bytes: 2 | 4 | 8, value: number) => {
    const raw = Buffer.alloc(8);
    raw.writeBigUInt64BE(BigInt(value));
    const own = raw.subarray(8 - bytes);
    file.set(order === 'BIG' ? own : own.reverse(), at);
    at += bytes;
  };
  const word = (value: number) => write(wide ? 8 : 4, value);
  file.write('\x7fELF', 'latin1');
  file.set([wide ? 2 : 1, order === 'BIG' ? 2 : 1, 1], 4);
  at = 0x10;
  write(2, 2); // an executable
  write(2, number);
  write(4, 1);
  word(BASE + start); // the entry point
  word(headBytes); // the offset of the segment's header
  word(0);
  write(4, flags);
  for (const value of [headBytes, segmentBytes, 1, 0, 0, 0]) write(2, value);

  const READ_AND_EXECUTE = 5;
  write(4, 1); // a segment to load
  if (wide) write(4, READ_AND_EXECUTE);
  for (const value of [0, BASE, BASE, start + text.length, start + text.length]) word(value);
  if (!wide) write(4, READ_AND_EXECUTE);
  word(PAGE);
  return Buffer.concat([file, text]);
}
