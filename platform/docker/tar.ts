/** A file of an archive: its path within it has at most 100 bytes. */
export interface TarFile {
  path: string;
  content: string | Buffer;
  /** Files that begin with "#!" are executable anyway. */
  executable?: boolean;
}

const BLOCK_BYTES = 512;
const MODE = 0o644;
const EXECUTABLE_MODE = 0o755;

/**
 * An archive of small files (ustar). All have the same owner and time, so that the engine finds its layers of an earlier build of the
 * same files again. Files that begin with "#!" are executable, because nothing else could say that they are.
 */
export function tarOf(files: TarFile[]): Buffer {
  const blocks = files.flatMap(({ path, content, executable }) => {
    const bytes = typeof content === 'string' ? Buffer.from(content) : content;
    const mode = executable || bytes.subarray(0, 2).toString() === '#!' ? EXECUTABLE_MODE : MODE;
    return [header(path, bytes.length, mode), bytes, Buffer.alloc(-bytes.length & (BLOCK_BYTES - 1))];
  });
  return Buffer.concat([...blocks, Buffer.alloc(2 * BLOCK_BYTES)]);
}

function header(path: string, size: number, mode: number): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  if (Buffer.byteLength(path) > 100) throw new Error(`The path ${path} is too long for an archive.`);
  block.write(path, 0);
  block.write(octal(mode, 7), 100);
  block.write(octal(0, 7), 108); // owner
  block.write(octal(0, 7), 116); // group
  block.write(octal(size, 11), 124);
  block.write(octal(0, 11), 136); // time
  block.fill(' ', 148, 156); // the checksum counts as spaces
  block.write('0', 156); // a file
  block.write('ustar\0' + '00', 257);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${octal(sum, 6)}\0 `, 148);
  return block;
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, '0');
}
