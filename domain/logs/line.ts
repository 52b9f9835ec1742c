/** Where a line was printed to. */
export type LogStream = 'STDOUT' | 'STDERR';

/** Who wrote a line: the program of the job or the steps of the build, or Chronoverse itself. */
export const LOG_SOURCES = ['PROGRAM', 'SYSTEM'] as const;
export type LogSource = (typeof LOG_SOURCES)[number];

/** A line of a log, as the api shows it. */
export interface LogLine {
  /** Counted without gaps from 1, over both streams and all attempts. */
  number: number;
  /** The engine's RFC 3339 timestamp. */
  timestamp: string;
  stream: LogStream;
  source: LogSource;
  text: string;
  /** Whether it is a piece of a longer line, which continues in the next line of its stream. */
  continues: boolean;
  attempt: number;
}
