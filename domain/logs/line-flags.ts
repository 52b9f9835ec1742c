import type { LogSource, LogStream } from './line.ts';

/**
 * The flag before each line of a chunk: one letter for its stream and its source, in upper case
 * when the line continues in the next line of its stream. A program cannot choose the flag of its
 * lines, so it cannot print a line that counts as Chronoverse's own.
 */
const FLAGS: Record<LogSource, Record<LogStream, number>> = {
  PROGRAM: { STDOUT: 0x6f, STDERR: 0x65 }, // o e
  SYSTEM: { STDOUT: 0x73, STDERR: 0x74 }, // s t
};

/** The bit that makes a letter lower case: the line is complete. */
const COMPLETE = 0x20;

/** The flag of a line, as a character code. */
export function flagOf(stream: LogStream, source: LogSource, continues = false): number {
  const flag = FLAGS[source][stream];
  return continues ? flag & ~COMPLETE : flag;
}

export function streamOf(flag: number | undefined): LogStream {
  const complete = completeFlag(flag ?? 0);
  return complete === FLAGS.PROGRAM.STDOUT || complete === FLAGS.SYSTEM.STDOUT ? 'STDOUT' : 'STDERR';
}

export function sourceOf(flag: number): LogSource {
  const complete = completeFlag(flag);
  return complete === FLAGS.SYSTEM.STDOUT || complete === FLAGS.SYSTEM.STDERR ? 'SYSTEM' : 'PROGRAM';
}

/** Whether the line continues in the next line of its stream. */
export function continuesIn(flag: number | undefined): boolean {
  return flag !== undefined && (flag & COMPLETE) === 0;
}

/** The flag of the last piece of a line whose pieces have this flag. */
export function completeFlag(flag: number): number {
  return flag | COMPLETE;
}
