import type { JobRow } from '../../db/schema.ts';
import { isEnded } from '../../domain/states.ts';
import { resumedAfter, viewerOf } from '../context.ts';
import { failure, orNotFound } from '../errors.ts';
import { followJob, followJobsOf, followJobsOfUser } from '../live/jobs.ts';
import { logEvents } from '../logs/events.ts';
import { LOG_PAGE_SIZE, LOG_PAGE_SIZE_MAX } from '../logs/page.ts';
import { builder } from './builder.ts';
import { pagingArgs } from './connection.ts';
import { FailureReasonEnum, JobStatusEnum, JobTriggerEnum, LogStreamEnum } from './enums.ts';
import {
  AFTER_DESCRIPTION,
  FIRST_LOG_LINE_DESCRIPTION,
  LOG_PAGE_COST,
  LOGS_DESCRIPTION,
  LogBatch,
  LogLineConnection,
  SEARCH_DESCRIPTION,
} from './log.ts';
import { Node } from './node.ts';
import { workflowFor } from './summary.ts';
import { Workflow } from './workflow.ts';

const STREAM_DESCRIPTION = 'Only lines of this stream.';

const JobRequester = builder.objectRef<{ userId: string; tokenName: string | null }>('JobRequester').implement({
  description: 'Who asked for a MANUAL job.',
  fields: (t) => ({
    userId: t.exposeID('userId', { description: 'The id of the account.' }),
    tokenName: t.exposeString('tokenName', {
      nullable: true,
      description: 'The name of the API token that was used. Null if it was a session.',
    }),
  }),
});

export const Job = builder.objectRef<JobRow>('Job');
Job.implement({
  description: 'One execution of a workflow.',
  interfaces: [Node],
  fields: (t) => ({
    workflowId: t.exposeID('workflowId', { description: 'The id of the workflow that the job runs.' }),
    workflow: t.field({
      type: Workflow,
      description: 'The workflow that the job runs.',
      resolve: async (job, _, context) => orNotFound(await workflowFor(context, job.workflowId)),
    }),
    trigger: t.field({
      type: JobTriggerEnum,
      description: 'What caused the job.',
      resolve: ({ trigger }) => trigger,
    }),
    requestedBy: t.field({
      type: JobRequester,
      nullable: true,
      description: 'Who asked for the job. Null unless it is MANUAL.',
      resolve: ({ requestedBy, requestedWith }) =>
        requestedBy === null ? null : { userId: requestedBy, tokenName: requestedWith },
    }),
    status: t.field({ type: JobStatusEnum, description: 'The state of the job.', resolve: ({ status }) => status }),
    generation: t.exposeInt('generation', { description: 'The generation of the workflow that the job runs.' }),
    attempt: t.exposeInt('attempt', {
      description:
        'The number of the newest attempt, or 0 before the first one. A job gets another attempt when a failure is retried, when its worker is lost, when the engine refuses its container, or when the worker gives it back: a check at any time, a container before it has started.',
    }),
    retryCount: t.int({
      description: 'How many attempts have failed and were followed by another one, as the run policy says.',
      resolve: ({ retries }) => retries,
    }),
    retryAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When the job is tried again after a failed attempt. Null unless it waits for that.',
      resolve: ({ status, retryAt }) => (status === 'PENDING' ? retryAt : null),
    }),
    scheduledAt: t.field({
      type: 'DateTime',
      description: 'When the job was due: its slot, or the time of the request if it is MANUAL.',
      resolve: (job) => job.scheduledAt,
    }),
    queuedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When the job was last queued for a worker. Null until then.',
      resolve: (job) => job.queuedAt,
    }),
    startedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When the newest attempt started. Null until then.',
      resolve: (job) => job.startedAt,
    }),
    completedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When the job completed, failed or was canceled. Null until then.',
      resolve: (job) => job.completedAt,
    }),
    durationMs: t.int({
      nullable: true,
      description: 'Milliseconds from `startedAt` to `completedAt`. Null unless the job has both.',
      resolve: ({ startedAt, completedAt }) =>
        startedAt && completedAt && Math.max(0, completedAt.getTime() - startedAt.getTime()),
    }),
    exitCode: t.exposeInt('exitCode', {
      nullable: true,
      description: 'The exit code of the container. Null for a HEARTBEAT, and if no container ended with one.',
    }),
    failureReason: t.field({
      type: FailureReasonEnum,
      nullable: true,
      description: 'Why the job failed. Null unless it FAILED.',
      resolve: (job) => job.failureReason,
    }),
    failureMessage: t.exposeString('failureMessage', {
      nullable: true,
      description:
        'Why the job failed, or why its run policy canceled it, as a sentence. Until it has ended: why the last attempt failed, if it is retried. Null otherwise.',
    }),
    logLineCount: t.int({
      description: 'How many lines the job printed. While it runs, how many of them are stored.',
      resolve: async (job, _, { load }) =>
        isEnded(job.status) ? job.logLineCount : Math.max(job.logLineCount, await load.lastLineNumber(job.id)),
    }),
    firstLogLine: t.int({
      nullable: true,
      description: FIRST_LOG_LINE_DESCRIPTION,
      resolve: ({ id }, _, { load }) => load.firstLineNumber(id),
    }),
    logs: t.field({
      type: LogLineConnection,
      description: LOGS_DESCRIPTION,
      args: {
        ...pagingArgs(LOG_PAGE_SIZE, LOG_PAGE_SIZE_MAX),
        stream: t.arg({ type: LogStreamEnum, description: STREAM_DESCRIPTION }),
        search: t.arg.string({ description: SEARCH_DESCRIPTION }),
      },
      extensions: LOG_PAGE_COST,
      resolve: (job, args, { logPages }) => logPages.page(job, args),
    }),
    createdAt: t.field({
      type: 'DateTime',
      description: 'When the job was created.',
      resolve: (job) => job.createdAt,
    }),
    updatedAt: t.field({
      type: 'DateTime',
      description: 'When the job last changed.',
      resolve: (job) => job.updatedAt,
    }),
  }),
});

builder.objectField(Workflow, 'latestJob', (t) =>
  t.field({
    type: Job,
    nullable: true,
    description: 'The newest job of the workflow. Null if there is none.',
    resolve: ({ id }, _, { load }) => load.newestJob(id),
  }),
);

builder.queryField('job', (t) =>
  t.field({
    type: Job,
    nullable: true,
    description: 'One of your jobs. Null if you have none with this id.',
    args: { id: t.arg.id({ required: true, description: 'The id of the job.' }) },
    resolve: (_, { id }, context) => {
      viewerOf(context);
      return context.load.job(id);
    },
  }),
);

builder.subscriptionField('jobUpdated', (t) =>
  t.field({
    type: Job,
    description:
      'With `jobId`: the job as it is now, then after each change; completes when the job has ended. With `workflowId`: the newest job of the workflow, if there is one, then each of its jobs after each change; completes when the workflow is purged. With neither: each of your jobs after each change. Give at most one of the two. It shows the newest state: states in between may be skipped.',
    args: {
      jobId: t.arg.id({ description: 'The id of the job.' }),
      workflowId: t.arg.id({ description: 'The id of the workflow.' }),
    },
    subscribe: async (_, { jobId, workflowId }, context) => {
      const { user } = viewerOf(context);
      const { services, load } = context;
      if (typeof jobId === 'string' && typeof workflowId === 'string')
        throw failure('BAD_REQUEST', 'Give `jobId`, `workflowId` or neither, not both.');
      if (typeof jobId === 'string') {
        const job = await load.job(jobId);
        if (!job) throw failure('NOT_FOUND', 'You have no job with this id.');
        return followJob(services, job);
      }
      if (typeof workflowId !== 'string') return followJobsOfUser(services, user.id);
      const workflow = await load.workflow(workflowId);
      if (!workflow) throw failure('NOT_FOUND', 'You have no workflow with this id.');
      return followJobsOf(services, workflow);
    },
    resolve: (job) => job,
  }),
);

builder.subscriptionField('jobLogs', (t) =>
  t.field({
    type: LogBatch,
    description:
      'The lines of a job after the cursor, both stored and new ones, in order and each once. Completes after the last line of a job that has ended.',
    args: {
      jobId: t.arg.id({ required: true, description: 'The id of the job.' }),
      after: t.arg.string({ description: AFTER_DESCRIPTION }),
      stream: t.arg({ type: LogStreamEnum, description: STREAM_DESCRIPTION }),
    },
    subscribe: async (_, { jobId, after, stream }, context) => {
      viewerOf(context);
      const job = await context.load.job(jobId);
      if (!job) throw failure('NOT_FOUND', 'You have no job with this id.');
      const from = { after: resumedAfter(context, after), stream };
      return logEvents(context.services, job, from, context.load.firstLineNumber);
    },
    resolve: (batch) => batch,
  }),
);
