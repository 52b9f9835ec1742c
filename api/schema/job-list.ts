import { countJobs, type JobFilter as JobFilterShape, listJobSummaries, listJobs } from '../../db/listing/jobs.ts';
import type { JobRow } from '../../db/schema.ts';
import { isId } from '../../domain/ids.ts';
import { COUNTED_MAX } from '../../domain/limits.ts';
import { type Context, viewerOf } from '../context.ts';
import { failure } from '../errors.ts';
import { orderedCursorOf, orderedWindowOf } from '../ordering.ts';
import { type CountedPage, counted, PAGE_SIZE, type PagingArgs, pageOf } from '../paging.ts';
import { User } from './account.ts';
import { builder } from './builder.ts';
import { countedConnectionOf, pagingArgs } from './connection.ts';
import { cost, SEARCH_COST, STATEMENT_COST } from './cost.ts';
import { JobStatusEnum, JobTriggerEnum } from './enums.ts';
import { Job } from './job.ts';
import { orderOf } from './order.ts';
import { jobsFor } from './summary.ts';
import { Workflow } from './workflow.ts';

const JobConnection = countedConnectionOf<JobRow>(Job, 'Job', 'newest first unless `orderBy` says otherwise');

/** The workflows that one filter may name: a statement reads a page of each. */
const WORKFLOW_IDS_MAX = 100;

const JobFilter = builder.inputType('JobFilter', {
  description: 'Selects jobs that meet all of the given conditions.',
  fields: (t) => ({
    status: t.field({ type: [JobStatusEnum], description: 'Jobs with one of these statuses.' }),
    trigger: t.field({ type: JobTriggerEnum, description: 'Jobs with this trigger.' }),
    workflowId: t.id({ description: 'Jobs of this workflow.' }),
    workflowIds: t.idList({
      description: `Jobs of any of these workflows: at most ${WORKFLOW_IDS_MAX}. An unknown id selects no jobs.`,
    }),
    scheduledAfter: t.field({ type: 'DateTime', description: 'Jobs that were due at this time or later.' }),
    scheduledBefore: t.field({ type: 'DateTime', description: 'Jobs that were due before this time.' }),
  }),
});

const order = orderOf('Job', {
  fields: ['CREATED_AT'],
  descriptions: { CREATED_AT: 'When the job was created, which is when it was due or soon after.' },
  keyTypes: {},
});

const args = () => ({
  ...pagingArgs(),
  ...builder.args((t) => ({ filter: t.field({ type: JobFilter, description: 'Which jobs.' }) })),
  ...order.argument(),
});

type Given = PagingArgs & {
  filter?: typeof JobFilter.$inferInput | null;
  orderBy?: Parameters<typeof order.asked>[0];
};

builder.objectField(Workflow, 'jobs', (t) =>
  t.field({
    type: JobConnection,
    description: 'The jobs of the workflow. You can read them after its deletion too.',
    extensions: cost({ given: { arguments: ['filter'], cost: SEARCH_COST }, pageSize: PAGE_SIZE }),
    args: args(),
    resolve: async ({ id }, { filter: given, orderBy, ...paging }: Given, context) => {
      const { load } = context;
      const by = order.asked(orderBy);
      const window = orderedWindowOf(paging, by);
      const { workflowIds, filter } = partsOf(given);
      const isAsked = workflowIds === undefined || workflowIds.includes(id);
      const asked = { workflowId: id, filter, window };
      const read = () =>
        jobsFor(
          context,
          () => load.jobs(asked),
          () => load.jobSummaries(asked),
        );
      const rows = isAsked ? await read() : [];
      const page = pageOf(rows, window, orderedCursorOf(by));
      return counted(page, async () => (isAsked ? load.jobCount({ workflowId: id, filter }) : 0));
    },
  }),
);

const COST = cost({
  base: STATEMENT_COST,
  given: { arguments: ['filter'], cost: SEARCH_COST },
  pageSize: PAGE_SIZE,
});

builder.queryField('jobs', (t) =>
  t.field({
    type: JobConnection,
    description: 'Your jobs, without those of deleted workflows.',
    extensions: COST,
    args: args(),
    resolve: (_, given, context) => pageOfJobs(viewerOf(context).user.id, given, context),
  }),
);

builder.objectField(User, 'jobs', (t) =>
  t.field({
    type: JobConnection,
    description: 'The jobs of the account, as `Query.jobs` lists them.',
    extensions: COST,
    args: args(),
    resolve: ({ id }, given, context) => pageOfJobs(id, given, context),
  }),
);

async function pageOfJobs(
  userId: string,
  { filter: given, orderBy, ...paging }: Given,
  context: Context,
): Promise<CountedPage<JobRow>> {
  const { db } = context.services;
  const by = order.asked(orderBy);
  const window = orderedWindowOf(paging, by);
  const { workflowIds, filter } = partsOf(given);
  const of = { userId, workflowIds };
  const rows = await jobsFor(
    context,
    () => listJobs(db, of, filter, window),
    () => listJobSummaries(db, of, filter, window),
  );
  const page = pageOf(rows, window, orderedCursorOf(by));
  return counted(page, () => countJobs(db, of, filter, COUNTED_MAX));
}

/**
 * The workflows that a filter names, and its other conditions. Workflows that meet both
 * `workflowId` and `workflowIds` are left; a malformed id is an unknown one.
 */
function partsOf(given: typeof JobFilter.$inferInput | null | undefined): {
  workflowIds: string[] | undefined;
  filter: JobFilterShape;
} {
  const { workflowId, workflowIds, ...filter } = given ?? {};
  const count = workflowIds?.length ?? 0;
  if (count > WORKFLOW_IDS_MAX)
    throw failure('BAD_REQUEST', `\`workflowIds\` may have ${WORKFLOW_IDS_MAX} ids at most, not ${count}.`);
  const one = typeof workflowId === 'string' ? new Set([workflowId.toLowerCase()]) : undefined;
  const some = workflowIds ? new Set(workflowIds.map((id) => id.toLowerCase())) : undefined;
  const both = one && some ? [...one].filter((id) => some.has(id)) : (one ?? some);
  return { workflowIds: both && [...both].filter(isId), filter };
}
