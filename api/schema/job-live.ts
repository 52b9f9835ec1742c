import { mapped } from '../../platform/async/iterator.ts';
import { viewerOf } from '../context.ts';
import { failure } from '../errors.ts';
import { followJob, followJobsOf } from '../live/jobs.ts';
import { batchOfStream, wholeBatch } from '../logs/batch.ts';
import { startAfter } from '../logs/retention.ts';
import { followJobLog } from '../logs/stream.ts';
import { builder } from './builder.ts';
import { LogStreamEnum } from './enums.ts';
import { Job } from './job.ts';
import { LogBatch } from './log.ts';

builder.subscriptionField('jobUpdated', (t) =>
  t.field({
    type: Job,
    description:
      'A job as it is now (of a workflow: its newest, if any), then at each change. Give exactly one of the two ids. Completes after the terminal state where a job is named.',
    args: {
      jobId: t.arg.id({ description: 'This job.' }),
      workflowId: t.arg.id({ description: 'The jobs of this workflow.' }),
    },
    subscribe: async (_, { jobId, workflowId }, context) => {
      viewerOf(context);
      const { services, load } = context;
      if (typeof jobId === 'string' && typeof workflowId !== 'string') {
        const job = await load.job(jobId);
        if (!job) throw failure('NOT_FOUND', 'You have no job with this id.');
        return followJob(services, job);
      }
      if (typeof workflowId !== 'string' || typeof jobId === 'string') {
        throw failure('BAD_REQUEST', 'Give exactly one of `jobId` and `workflowId`.');
      }
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
      'The lines of a job after the cursor, stored or yet to come, in order, nothing missing and nothing twice. Completes when the job has ended and its last line is delivered.',
    args: {
      jobId: t.arg.id({ required: true, description: 'Which job.' }),
      after: t.arg.string({ description: 'A cursor that this log has given: go on behind it.' }),
      stream: t.arg({ type: LogStreamEnum, description: 'The lines of this stream alone.' }),
    },
    subscribe: async (_, { jobId, after, stream }, context) => {
      viewerOf(context);
      const job = await context.load.job(jobId);
      if (!job) throw failure('NOT_FOUND', 'You have no job with this id.');
      const number = await startAfter(context.services.db, job, after);
      const batches = followJobLog(context.services, job, number);
      const { id } = job;
      return mapped(batches, (batch) => (stream ? batchOfStream(id, batch, stream) : wholeBatch(id, batch)));
    },
    resolve: (batch) => batch,
  }),
);
