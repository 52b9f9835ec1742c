import { listJobs } from '../../db/listing.ts';
import type { JobRow } from '../../db/schema.ts';
import { isId } from '../../domain/ids.ts';
import { isEnded } from '../../domain/states.ts';
import { viewerOf } from '../context.ts';
import { orNotFound } from '../errors.ts';
import { LOG_PAGE_SIZE, LOG_PAGE_SIZE_MAX, logPage } from '../logs/page.ts';
import { pageOf, windowOf } from '../paging.ts';
import { builder } from './builder.ts';
import { connectionOf, pagingArgs } from './connection.ts';
import { FailureReasonEnum, JobStatusEnum, JobTriggerEnum, LogStreamEnum } from './enums.ts';
import { costs, LOOKING_THROUGH_COST, STATEMENT_COST } from './field-cost.ts';
import { LOG_PAGE_COSTS, LogLineConnection, SEARCH_DESCRIPTION } from './log.ts';
import { Node } from './node.ts';
import { Workflow } from './workflow.ts';

const JobRequester = builder.objectRef<{ userId: string; tokenName: string | null }>('JobRequester').implement({
  description: 'Who asked for a MANUAL job.',
  fields: (t) => ({
    userId: t.exposeID('userId', { description: 'The account.' }),
    tokenName: t.exposeString('tokenName', {
      nullable: true,
      description: 'The name of the API token that was used. Null if a person did it in a session.',
    }),
  }),
});

export const Job = builder.objectRef<JobRow>('Job');
Job.implement({
  description: 'One execution of a workflow.',
  interfaces: [Node],
  fields: (t) => ({
    workflowId: t.exposeID('workflowId', { description: 'The workflow that it runs.' }),
    workflow: t.field({
      type: Workflow,
      description: 'The workflow that it runs.',
      resolve: async (job, _, { load }) => orNotFound(await load.workflow(job.workflowId)),
    }),
    trigger: t.field({
      type: JobTriggerEnum,
      description: 'Why there is this job.',
      resolve: ({ trigger }) => trigger,
    }),
    requestedBy: t.field({
      type: JobRequester,
      nullable: true,
      description: 'Who asked for it. Null unless it is MANUAL.',
      resolve: ({ requestedBy, requestedWith }) =>
        requestedBy === null ? null : { userId: requestedBy, tokenName: requestedWith },
    }),
    status: t.field({ type: JobStatusEnum, description: 'How far it is.', resolve: ({ status }) => status }),
    generation: t.exposeInt('generation', { description: "The payload's revision that it runs." }),
    attempt: t.exposeInt('attempt', {
      description:
        'The number of its newest attempt: 0 before the first one. A job has another attempt when its worker is lost, when the engine refuses its container, or when the worker gives it back: a check at any time, a container before it was started.',
    }),
    scheduledAt: t.field({
      type: 'DateTime',
      description: 'The slot that it is for; of a MANUAL one, when it was asked for.',
      resolve: (job) => job.scheduledAt,
    }),
    queuedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When it was handed to the workers.',
      resolve: (job) => job.queuedAt,
    }),
    startedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When its newest attempt began.',
      resolve: (job) => job.startedAt,
    }),
    completedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When it ended, however it did.',
      resolve: (job) => job.completedAt,
    }),
    durationMs: t.int({
      nullable: true,
      description: 'Milliseconds from its start to its end; null unless it had both.',
      resolve: ({ startedAt, completedAt }) =>
        startedAt && completedAt && Math.max(0, completedAt.getTime() - startedAt.getTime()),
    }),
    exitCode: t.exposeInt('exitCode', { nullable: true, description: 'What its container ended with.' }),
    failureReason: t.field({
      type: FailureReasonEnum,
      nullable: true,
      description: 'Why it FAILED.',
      resolve: (job) => job.failureReason,
    }),
    failureMessage: t.exposeString('failureMessage', { nullable: true, description: 'The same as a sentence.' }),
    logLineCount: t.int({
      description: 'How many lines it has printed; while it runs, how many of them are stored.',
      resolve: async (job, _, { load }) =>
        isEnded(job.status) ? job.logLineCount : Math.max(job.logLineCount, await load.lastLineNumber(job.id)),
    }),
    firstLogLine: t.int({
      nullable: true,
      description:
        'The number of the first line that is stored: retention removes the first ones first. Null when none is.',
      resolve: ({ id }, _, { load }) => load.firstLineNumber(id),
    }),
    logs: t.field({
      type: LogLineConnection,
      description:
        'What it has printed so far, by number. A page may be shorter than asked for, or empty; it says whether there is more, and where to go on.',
      args: {
        ...pagingArgs(LOG_PAGE_SIZE, LOG_PAGE_SIZE_MAX),
        stream: t.arg({ type: LogStreamEnum, description: 'The lines of this stream alone.' }),
        search: t.arg.string({ description: SEARCH_DESCRIPTION }),
      },
      extensions: LOG_PAGE_COSTS,
      resolve: (job, args, { services, budget }) => logPage(services.db, job, args, budget),
    }),
    createdAt: t.field({ type: 'DateTime', description: 'When it was made.', resolve: (job) => job.createdAt }),
    updatedAt: t.field({
      type: 'DateTime',
      description: 'When its row was last changed.',
      resolve: (job) => job.updatedAt,
    }),
  }),
});

const JobConnection = connectionOf<JobRow>(Job, 'Job', 'newest first');

const JobFilter = builder.inputType('JobFilter', {
  description: 'Which jobs. All that is given must hold.',
  fields: (t) => ({
    status: t.field({ type: [JobStatusEnum], description: 'In one of these states.' }),
    trigger: t.field({ type: JobTriggerEnum, description: 'There for this reason.' }),
    workflowId: t.id({ description: 'Of this workflow.' }),
    scheduledAfter: t.field({ type: 'DateTime', description: 'For a slot at this instant or later.' }),
    scheduledBefore: t.field({ type: 'DateTime', description: 'For a slot before this instant.' }),
  }),
});

builder.objectField(Workflow, 'latestJob', (t) =>
  t.field({
    type: Job,
    nullable: true,
    description: 'The newest job, if there is one.',
    resolve: ({ id }, _, { load }) => load.newestJob(id),
  }),
);

builder.objectField(Workflow, 'jobs', (t) =>
  t.field({
    type: JobConnection,
    description: 'Its jobs, newest first; after its deletion too.',
    args: { ...pagingArgs(), filter: t.arg({ type: JobFilter, description: 'Which of them.' }) },
    resolve: async ({ id }, { filter, ...args }, { load }) => {
      const window = windowOf(args);
      const { workflowId, ...rest } = filter ?? {};
      const none = typeof workflowId === 'string' && workflowId.toLowerCase() !== id;
      return pageOf(none ? [] : await load.jobs({ workflowId: id, filter: rest, window }), window);
    },
  }),
);

builder.queryField('job', (t) =>
  t.field({
    type: Job,
    nullable: true,
    description: "A job of the viewer's; null where there is none with this id.",
    args: { id: t.arg.id({ required: true, description: 'The id. A malformed one is an unknown one.' }) },
    resolve: (_, { id }, context) => {
      viewerOf(context);
      return context.load.job(id);
    },
  }),
);

builder.queryField('jobs', (t) =>
  t.field({
    type: JobConnection,
    description: "The viewer's jobs, newest first; those of deleted workflows are left out.",
    extensions: costs(STATEMENT_COST, { arguments: ['filter'], cost: LOOKING_THROUGH_COST }),
    args: {
      ...pagingArgs(),
      filter: t.arg({ type: JobFilter, description: 'Which of them.' }),
    },
    resolve: async (_, { filter, ...args }, context) => {
      const { user } = viewerOf(context);
      const window = windowOf(args);
      if (typeof filter?.workflowId === 'string' && !isId(filter.workflowId)) return pageOf([], window);
      return pageOf(await listJobs(context.services.db, user.id, filter ?? {}, window), window);
    },
  }),
);
