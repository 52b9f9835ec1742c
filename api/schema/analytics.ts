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
import { costs, LOOKING_THROUGH_COST, STATEMENT_COST } from './field-cost.ts';
import { Workflow } from './workflow.ts';

export const Analytics = builder.objectRef<Summary & { workflowCount: number }>('Analytics');
Analytics.implement({
  description:
    'Totals of the jobs that ended in a range of time; those of workflows and jobs that were deleted since are counted too. They are right at once.',
  fields: (t) => ({
    workflowCount: t.exposeInt('workflowCount', {
      description: 'Workflows that were there within the range, if only for a part of it.',
    }),
    jobCount: t.exposeInt('jobCount', { description: 'Jobs that ended, however they did.' }),
    completedJobCount: t.exposeInt('completedJobCount', { description: 'Of them, those that have COMPLETED.' }),
    failedJobCount: t.exposeInt('failedJobCount', { description: 'Of them, those that have FAILED.' }),
    canceledJobCount: t.exposeInt('canceledJobCount', { description: 'Of them, those that were CANCELED.' }),
    logLineCount: t.exposeFloat('logLineCount', { description: 'The lines that these jobs have printed.' }),
    totalDurationMs: t.exposeFloat('totalDurationMs', { description: 'The sum of their durations, in milliseconds.' }),
    p50DurationMs: t.exposeFloat('p50DurationMs', {
      nullable: true,
      description: 'The median of their durations, to within 5 %; null where none of them was started.',
    }),
    p99DurationMs: t.exposeFloat('p99DurationMs', {
      nullable: true,
      description: 'The duration that 99 % of them do not exceed, to within 5 %; null where none of them was started.',
    }),
  }),
});

const rangeArgs = () =>
  builder.args((t) => ({
    from: t.field({
      type: 'DateTime',
      description: 'From the hour (UTC) of this instant on; from the beginning unless given.',
    }),
    to: t.field({
      type: 'DateTime',
      description: 'Up to the end of the hour (UTC) that this instant is in; up to now unless given.',
    }),
  }));

builder.queryField('analytics', (t) =>
  t.field({
    type: Analytics,
    description: "Totals of the viewer's workflows and jobs.",
    extensions: costs(LOOKING_THROUGH_COST),
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
    description: 'Totals of its jobs; `workflowCount` is 1 where it was there within the range, else 0.',
    extensions: costs(2 * STATEMENT_COST),
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
