import { readUserTotals, type Total } from '../../db/analytics.ts';
import {
  type EndedTotal,
  existedWithin,
  type Summary,
  summarize,
  type TimeRange,
  wholeHours,
} from '../../domain/analytics.ts';
import { viewerOf } from '../context.ts';
import { failure } from '../errors.ts';
import { builder } from './builder.ts';
import { cost, SEARCH_COST, STATEMENT_COST } from './cost.ts';
import { Workflow } from './workflow.ts';

export const Analytics = builder.objectRef<Summary & { workflowCount: number }>('Analytics');
Analytics.implement({
  description:
    'Totals of the jobs that ended in a time range, including jobs and workflows that were deleted later. They are always up to date.',
  fields: (t) => ({
    workflowCount: t.exposeInt('workflowCount', {
      description: 'How many workflows existed at some time in the range.',
    }),
    jobCount: t.exposeInt('jobCount', { description: 'How many jobs ended.' }),
    completedJobCount: t.exposeInt('completedJobCount', { description: 'How many of them COMPLETED.' }),
    failedJobCount: t.exposeInt('failedJobCount', { description: 'How many of them FAILED.' }),
    canceledJobCount: t.exposeInt('canceledJobCount', { description: 'How many of them were CANCELED.' }),
    logLineCount: t.exposeFloat('logLineCount', { description: 'How many log lines these jobs printed.' }),
    totalDurationMs: t.exposeFloat('totalDurationMs', { description: 'The sum of their durations in milliseconds.' }),
    p50DurationMs: t.exposeFloat('p50DurationMs', {
      nullable: true,
      description: 'The median of their durations in milliseconds, accurate to 5 %. Null if none of them ever started.',
    }),
    p99DurationMs: t.exposeFloat('p99DurationMs', {
      nullable: true,
      description:
        'The 99th percentile of their durations in milliseconds, accurate to 5 %. Null if none of them ever started.',
    }),
  }),
});

const rangeArgs = () =>
  builder.args((t) => ({
    from: t.field({
      type: 'DateTime',
      description: 'The start of the range, rounded down to the hour (UTC). Defaults to the beginning.',
    }),
    to: t.field({
      type: 'DateTime',
      description: 'The end of the range, rounded up to the end of its hour (UTC). Defaults to now.',
    }),
  }));

builder.queryField('analytics', (t) =>
  t.field({
    type: Analytics,
    description: 'Totals over all of your workflows.',
    extensions: cost({ base: SEARCH_COST }),
    args: { ...rangeArgs() },
    resolve: async (_, args, context) => {
      const { user } = viewerOf(context);
      const range = rangeOf(args);
      const totals = await readUserTotals(context.services.db, user.id, range);
      const future = range.from && range.from > new Date();
      const workflowCount = future ? 0 : countOf(totals, 'WORKFLOW_CREATED') - countOf(totals, 'WORKFLOW_DELETED');
      return { workflowCount, ...summarize(totals.flatMap(asEnded)) };
    },
  }),
);

builder.objectField(Workflow, 'analytics', (t) =>
  t.field({
    type: Analytics,
    description:
      'Totals of the jobs of this workflow. `workflowCount` is 1 if the workflow existed in the range, else 0.',
    extensions: cost({ base: 2 * STATEMENT_COST }),
    args: { ...rangeArgs() },
    resolve: async (workflow, args, { load }) => {
      const range = rangeOf(args);
      const totals = await load.totals({ workflowId: workflow.id, range });
      const workflowCount = existedWithin(workflow, range, new Date()) ? 1 : 0;
      return { workflowCount, ...summarize(totals.flatMap(asEnded)) };
    },
  }),
);

function rangeOf({ from, to }: { from?: Date | string | null; to?: Date | string | null }): TimeRange {
  const [begin, end] = [instant(from), instant(to)];
  if (begin && end && begin > end) {
    throw failure(
      'BAD_REQUEST',
      `\`from\` must not be after \`to\`: ${begin.toISOString()} is after ${end.toISOString()}.`,
    );
  }
  return wholeHours({ from: begin, to: end });
}

function instant(value: Date | string | null | undefined): Date | undefined {
  return value === null || value === undefined ? undefined : new Date(value);
}

function countOf(totals: Total[], what: Total['what']): number {
  return totals.filter((total) => total.what === what).reduce((sum, { count }) => sum + count, 0);
}

function asEnded({ what, ...total }: Total): EndedTotal[] {
  return what === 'WORKFLOW_CREATED' || what === 'WORKFLOW_DELETED' ? [] : [{ what, ...total }];
}
