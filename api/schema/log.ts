import type { LogLine as LogLineShape } from '../../domain/logs/chunk.ts';
import type { LogBatchShape } from '../logs/batch.ts';
import { SEARCH_LENGTH_MAX } from '../logs/page.ts';
import { builder } from './builder.ts';
import { connectionOf } from './connection.ts';
import { LogSourceEnum, LogStreamEnum } from './enums.ts';
import { costs, costsOfList, LOOKING_THROUGH_COST, STATEMENT_COST } from './field-cost.ts';

export const LogLine = builder.objectRef<LogLineShape>('LogLine');
LogLine.implement({
  description: 'A line that a job or a build has printed.',
  fields: (t) => ({
    number: t.exposeInt('number', { description: 'Counted without gaps from 1, over both streams and all attempts.' }),
    timestamp: t.field({
      type: 'DateTime',
      description: 'When it was printed.',
      resolve: ({ timestamp }) => timestamp,
    }),
    stream: t.field({ type: LogStreamEnum, description: 'Where it was printed to.', resolve: ({ stream }) => stream }),
    source: t.field({ type: LogSourceEnum, description: 'Who wrote it.', resolve: ({ source }) => source }),
    text: t.exposeString('text', { description: 'The line without its newline; a carriage return is kept.' }),
    continues: t.exposeBoolean('continues', {
      description: 'Whether it is a piece of a longer line, which goes on in the next line of this stream.',
    }),
    attempt: t.exposeInt('attempt', { description: 'The attempt that has printed it.' }),
  }),
});

export const LogLineConnection = connectionOf<LogLineShape>(LogLine, 'LogLine', 'by number');

/** Nearly all batches have fewer: one of 256 KiB has as many lines of 130 bytes. */
const BATCH_LINES_TYPICAL_MAX = 2_000;

export const LogBatch = builder.objectRef<LogBatchShape>('LogBatch');
LogBatch.implement({
  description: 'Lines that follow each other.',
  fields: (t) => ({
    lines: t.field({
      type: [LogLine],
      description: 'The lines.',
      extensions: costsOfList(BATCH_LINES_TYPICAL_MAX),
      resolve: (batch) => batch.lines(),
    }),
    text: t.string({
      description: "The same lines' texts, each with its newline unless it continues: cheap to follow.",
      resolve: (batch) => batch.text(),
    }),
    firstNumber: t.exposeInt('firstNumber', { description: 'The number of the first line.' }),
    lastNumber: t.exposeInt('lastNumber', { description: 'The number of the last line.' }),
    cursor: t.exposeString('cursor', {
      description:
        'Give it as `after` to go on behind this batch, on any server; `Job.logs` and `Build.logs` take it too.',
    }),
  }),
});

/** Of a field that answers a page of a log: each reads its own part of the store. */
export const LOG_PAGE_COSTS = costs(STATEMENT_COST, {
  arguments: ['search', 'stream'],
  cost: LOOKING_THROUGH_COST - STATEMENT_COST,
});

export const SEARCH_DESCRIPTION = `The lines with this in their text, in upper or lower case: 1 to ${SEARCH_LENGTH_MAX} characters.`;
