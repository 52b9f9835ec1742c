import { buffer } from 'node:stream/consumers';
import { pack } from 'tar-stream';

/** A small file of an archive. */
export interface TarFile {
  path: string;
  content: string | Buffer;
  /** Files that begin with "#!" are executable anyway. */
  executable?: boolean;
}

const MODE = 0o644;
const EXECUTABLE_MODE = 0o755;

/**
 * An archive of small files. All files have the same owner and time, so that the engine reuses the
 * layers of an earlier build of the same files. Files that begin with "#!" are executable, because
 * nothing else marks them as programs.
 */
export async function tarOf(files: TarFile[]): Promise<Buffer> {
  const archive = pack();
  const bytes = buffer(archive);
  for (const { path, content, executable } of files) {
    const isProgram = executable || content.slice(0, 2).toString() === '#!';
    const mode = isProgram ? EXECUTABLE_MODE : MODE;
    archive.entry({ name: path, mode, mtime: new Date(0), uid: 0, gid: 0 }, content);
  }
  archive.finalize();
  return bytes;
}
