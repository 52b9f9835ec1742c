import type { BuildRow } from '../../db/schema.ts';
import { resumedAfter, viewerOf } from '../context.ts';
import { failure, orNotFound } from '../errors.ts';
import { logEvents } from '../logs/events.ts';
import { LOG_PAGE_SIZE, LOG_PAGE_SIZE_MAX } from '../logs/page.ts';
import { builder } from './builder.ts';
import { pagingArgs } from './connection.ts';
import { BuildStatusEnum } from './enums.ts';
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
import { Workflow } from './workflow.ts';

export const Build = builder.objectRef<BuildRow>('Build');
Build.implement({
  description: 'The preparation of the image for one generation of a CONTAINER workflow.',
  interfaces: [Node],
  fields: (t) => ({
    workflow: t.field({
      type: Workflow,
      description: 'The workflow that the image is for.',
      resolve: async (build, _, { load }) => orNotFound(await load.workflow(build.workflowId)),
    }),
    generation: t.exposeInt('generation', { description: 'The generation of the workflow that the image is for.' }),
    status: t.field({
      type: BuildStatusEnum,
      description: 'The state of the build.',
      resolve: ({ status }) => status,
    }),
    error: t.exposeString('error', {
      nullable: true,
      description: 'Why the build failed, for the author of the payload. Null unless it FAILED.',
    }),
    waitingFor: t.exposeString('waitsFor', {
      nullable: true,
      description:
        'The outage of the registry or the Docker engine whose end the build waits for. Null unless it waits for one.',
    }),
    retryAt: t.field({
      type: 'DateTime',
      nullable: true,
      description:
        'When a build that waits for the end of an outage is tried again: `rebuildWorkflow` does so at once. Null otherwise.',
      resolve: ({ status, retryAt }) => (status === 'QUEUED' ? retryAt : null),
    }),
    imageId: t.exposeString('imageId', {
      nullable: true,
      description: "The engine's id of the image that the build found or made. Null until the build has one.",
    }),
    createdAt: t.field({
      type: 'DateTime',
      description: 'When the build was queued.',
      resolve: (build) => build.createdAt,
    }),
    startedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When a worker started the build. Null until then.',
      resolve: (build) => build.startedAt,
    }),
    completedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When the build completed, failed or was canceled. Null until then.',
      resolve: (build) => build.completedAt,
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
        search: t.arg.string({ description: SEARCH_DESCRIPTION }),
      },
      extensions: LOG_PAGE_COST,
      resolve: (build, args, { logPages }) => logPages.page(build, args),
    }),
  }),
});

builder.objectField(Workflow, 'build', (t) =>
  t.field({
    type: Build,
    nullable: true,
    description: 'The newest build. Null for HEARTBEAT.',
    resolve: ({ id, kind }, _, { load }) => (kind === 'CONTAINER' ? load.newestBuild(id) : null),
  }),
);

builder.subscriptionField('buildLogs', (t) =>
  t.field({
    type: LogBatch,
    description:
      'The lines of a build after the cursor, both stored and new ones, in order and each once. Completes after the last line of a build that has ended.',
    args: {
      buildId: t.arg.id({ required: true, description: 'The id of the build.' }),
      after: t.arg.string({ description: AFTER_DESCRIPTION }),
    },
    subscribe: async (_, { buildId, after }, context) => {
      viewerOf(context);
      const build = await context.load.build(buildId);
      if (!build) throw failure('NOT_FOUND', 'You have no build with this id.');
      const from = { after: resumedAfter(context, after) };
      return logEvents(context.services, build, from, context.load.firstLineNumber);
    },
    resolve: (batch) => batch,
  }),
);
