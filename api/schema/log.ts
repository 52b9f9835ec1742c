import type { LogLine as LogLineShape } from '../../domain/logs/line.ts';
import type { LogBatchShape } from '../logs/batch.ts';
import { LOG_PAGE_SIZE, SEARCH_LENGTH_MAX } from '../logs/page.ts';
import { builder } from './builder.ts';
import { connectionOf } from './connection.ts';
import { cost, SEARCH_COST, STATEMENT_COST } from './cost.ts';
import { LogSourceEnum, LogStreamEnum } from './enums.ts';

export const LogLine = builder.objectRef<LogLineShape>('LogLine');
LogLine.implement({
  description: 'A line that a job or a build printed.',
  fields: (t) => ({
    number: t.exposeInt('number', {
      description: 'The number of the line, counted from 1 without gaps over both streams and all attempts.',
    }),
    timestamp: t.field({
      type: 'DateTime',
      description: 'When the line arrived from the engine, or its time in the log of the engine.',
      resolve: ({ timestamp }) => timestamp,
    }),
    stream: t.field({
      type: LogStreamEnum,
      description: 'The stream that the line was printed to.',
      resolve: ({ stream }) => stream,
    }),
    source: t.field({ type: LogSourceEnum, description: 'What wrote the line.', resolve: ({ source }) => source }),
    text: t.exposeString('text', { description: 'The line without its newline. A carriage return is kept.' }),
    continues: t.exposeBoolean('continues', {
      description: 'Whether this is a piece of a longer line that goes on in the next line of the same stream.',
    }),
    attempt: t.exposeInt('attempt', { description: 'The number of the attempt that printed the line.' }),
  }),
});

export const LogLineConnection = connectionOf<LogLineShape>(LogLine, 'LogLine', 'by number');

/** Nearly all batches have fewer lines: a batch of 256 KiB has this many of 130 bytes. */
const BATCH_LINES_TYPICAL_MAX = 2_000;

export const LogBatch = builder.objectRef<LogBatchShape>('LogBatch');
LogBatch.implement({
  description: 'Consecutive lines of a log.',
  fields: (t) => ({
    lines: t.field({
      type: [LogLine],
      description: 'The lines.',
      extensions: cost({ itemsMax: BATCH_LINES_TYPICAL_MAX }),
      resolve: (batch) => batch.lines(),
    }),
    text: t.string({
      description:
        'The texts of the same lines, each with its newline unless it continues. Costs less than `lines` to follow.',
      resolve: (batch) => batch.text(),
    }),
    firstNumber: t.exposeInt('firstNumber', { description: 'The number of the first line.' }),
    lastNumber: t.exposeInt('lastNumber', { description: 'The number of the last line.' }),
    cursor: t.exposeString('cursor', {
      description:
        'The cursor of the last line. Give it as `after` to go on after this batch, on any server; `Job.logs` and `Build.logs` accept it too.',
    }),
  }),
});

/** A field that returns a page of a log: each reads its own part of the store. */
export const LOG_PAGE_COST = cost({
  base: STATEMENT_COST,
  given: { arguments: ['search', 'stream'], cost: SEARCH_COST - STATEMENT_COST },
  pageSize: LOG_PAGE_SIZE,
});

export const LOGS_DESCRIPTION =
  'The lines printed so far, by number. A page may be shorter than you asked for, or empty: `pageInfo` says whether there are more lines and where to go on.';
export const SEARCH_DESCRIPTION = `Only lines with this text in them: 1 to ${SEARCH_LENGTH_MAX.toLocaleString('en')} characters. Case makes no difference.`;
export const FIRST_LOG_LINE_DESCRIPTION =
  'The number of the first line that is still stored, because retention removes the oldest lines first. Null if no line is stored.';
export const AFTER_DESCRIPTION = 'A cursor of this log. Only lines after it are returned.';
