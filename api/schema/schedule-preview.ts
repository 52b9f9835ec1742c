import { databaseClockMs } from '../../db/jobs/anchor.ts';
import { SCHEDULE_PREVIEWS_PER_USER_PER_MINUTE } from '../../domain/limits.ts';
import { below } from '../../domain/problem.ts';
import { parseSchedule, runsAfter, timeProblems } from '../../domain/schedule/schedule.ts';
import { inSlices } from '../../platform/async/slices.ts';
import { countAttempt } from '../auth/attempts.ts';
import { viewerOf } from '../context.ts';
import { builder } from './builder.ts';
import { cost, EXPRESSIONS_COST, SLOT_COST, STATEMENT_COST } from './cost.ts';
import { runCount, ScheduledRun, ScheduleInput, toRuns, UPCOMING_RUNS, UPCOMING_RUNS_MAX } from './schedule.ts';
import { invalid, refused, UserError, type UserErrorShape } from './user-error.ts';

const SchedulePreview = builder
  .objectRef<{ runs: ReturnType<typeof toRuns>; userErrors: UserErrorShape[] }>('SchedulePreview')
  .implement({
    description: 'When a schedule would run.',
    fields: (t) => ({
      runs: t.field({
        type: [ScheduledRun],
        description: 'The next slots, the first one first. Empty if none comes, or if the schedule has a problem.',
        extensions: cost({ itemsMax: 1 }), // the field with `first` has their number
        resolve: ({ runs }) => runs,
      }),
      userErrors: t.field({
        type: [UserError],
        description: 'Problems of the schedule. `path` begins with the name of the argument.',
        resolve: ({ userErrors }) => userErrors,
      }),
    }),
  });

const UNKNOWN_WORKFLOW: UserErrorShape = {
  code: 'NOT_FOUND',
  message: 'You have no workflow with this id.',
  path: ['workflowId'],
};

builder.queryField('schedulePreview', (t) =>
  t.field({
    type: SchedulePreview,
    description:
      'When a schedule would run, without storing anything. A form can call it at each key stroke: 600 times a minute.',
    args: {
      schedule: t.arg({ type: ScheduleInput, required: true, description: 'The schedule.' }),
      first: t.arg.int({
        defaultValue: UPCOMING_RUNS,
        description: `How many slots to return: 1 to ${UPCOMING_RUNS_MAX}.`,
      }),
      after: t.arg({
        type: 'DateTime',
        description:
          'Only slots after this time. Defaults to now. An interval has its first slot then, as a new workflow runs at once.',
      }),
      workflowId: t.arg.id({
        description:
          'The id of the workflow whose schedule it is. What an H stands for depends on it: without it, a preview shows how often an H runs, and not when.',
      }),
    },
    extensions: cost({ base: STATEMENT_COST + EXPRESSIONS_COST, perItem: SLOT_COST, pageSize: UPCOMING_RUNS }),
    resolve: async (_, { schedule: input, first, after, workflowId }, context) => {
      const { user } = viewerOf(context);
      const { services } = context;
      const count = runCount(first);
      await countAttempt(services, `preview:${user.id}`, SCHEDULE_PREVIEWS_PER_USER_PER_MINUTE, 60);
      const now = new Date(await databaseClockMs(services.db));
      const workflow = typeof workflowId === 'string' ? await context.load.workflow(workflowId) : undefined;
      if (typeof workflowId === 'string' && !workflow) return { runs: [], ...refused(UNKNOWN_WORKFLOW) };
      const id = workflow?.id;
      const { value: schedule, problems = [] } = await inSlices(() => parseSchedule(input, id));
      return inSlices(() => {
        if (schedule) problems.push(...timeProblems(schedule, now, id));
        if (!schedule || problems.length > 0) return { runs: [], ...invalid(below(['schedule'], problems)) };
        return { runs: toRuns(schedule, runsAfter(schedule, after ?? now, count, id), id), userErrors: [] };
      });
    },
  }),
);
