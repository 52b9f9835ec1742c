/** Where a line was printed to. */
export type LogStream = 'STDOUT' | 'STDERR';

/** Who wrote a line: the program of the job or the steps of the build, or Chronoverse itself. */
export const LOG_SOURCES = ['PROGRAM', 'SYSTEM'] as const;
export type LogSource = (typeof LOG_SOURCES)[number];

/**
 * The flag that stands before each line in a chunk: one letter tells its stream and its source. The upper-case letter says that the line
 * continues in the next line of its stream. No program can choose the flag of what it prints, so that no program can print a line that
 * counts as ours.
 */
const FLAGS: Record<LogSource, Record<LogStream, number>> = {
  PROGRAM: { STDOUT: 0x6f, STDERR: 0x65 }, // o e
  SYSTEM: { STDOUT: 0x73, STDERR: 0x74 }, // s t
};

/** The bit by which a letter is lower case: the line is complete. */
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

/** Whether the line goes on in the next line of its stream. */
export function continuesIn(flag: number | undefined): boolean {
  return flag !== undefined && (flag & COMPLETE) === 0;
}

/** The flag of the last piece of a line whose pieces have this flag. */
export function completeFlag(flag: number): number {
  return flag | COMPLETE;
}
