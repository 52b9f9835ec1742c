import type { BuildRow } from '../../db/schema.ts';
import { mapped } from '../../platform/async/iterator.ts';
import { viewerOf } from '../context.ts';
import { failure, orNotFound } from '../errors.ts';
import { wholeBatch } from '../logs/batch.ts';
import { LOG_PAGE_SIZE, LOG_PAGE_SIZE_MAX, logPage } from '../logs/page.ts';
import { startAfter } from '../logs/retention.ts';
import { followBuildLog } from '../logs/stream.ts';
import { builder } from './builder.ts';
import { pagingArgs } from './connection.ts';
import { BuildStatusEnum } from './enums.ts';
import { LOG_PAGE_COSTS, LogBatch, LogLineConnection, SEARCH_DESCRIPTION } from './log.ts';
import { Node } from './node.ts';
import { Workflow } from './workflow.ts';

export const Build = builder.objectRef<BuildRow>('Build');
Build.implement({
  description: 'Preparing the image of one generation of a CONTAINER workflow.',
  interfaces: [Node],
  fields: (t) => ({
    workflow: t.field({
      type: Workflow,
      description: 'The workflow that it is for.',
      resolve: async (build, _, { load }) => orNotFound(await load.workflow(build.workflowId)),
    }),
    generation: t.exposeInt('generation', { description: "The payload's revision that it is for." }),
    status: t.field({ type: BuildStatusEnum, description: 'How far it is.', resolve: ({ status }) => status }),
    error: t.exposeString('error', {
      nullable: true,
      description: 'Why it FAILED, for the person who wrote the payload.',
    }),
    imageId: t.exposeString('imageId', { nullable: true, description: 'The image that it has found or made.' }),
    createdAt: t.field({ type: 'DateTime', description: 'When it was queued.', resolve: (build) => build.createdAt }),
    startedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When a worker began.',
      resolve: (build) => build.startedAt,
    }),
    completedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When it ended, however it did.',
      resolve: (build) => build.completedAt,
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
        search: t.arg.string({ description: SEARCH_DESCRIPTION }),
      },
      extensions: LOG_PAGE_COSTS,
      resolve: (build, args, { services, budget }) => logPage(services.db, build, args, budget),
    }),
  }),
});

builder.objectField(Workflow, 'build', (t) =>
  t.field({
    type: Build,
    nullable: true,
    description: 'The newest build; null for HEARTBEAT.',
    resolve: ({ id, kind }, _, { load }) => (kind === 'CONTAINER' ? load.newestBuild(id) : null),
  }),
);

builder.subscriptionField('buildLogs', (t) =>
  t.field({
    type: LogBatch,
    description:
      'The lines of a build after the cursor, stored or yet to come, in order, nothing missing and nothing twice. Completes when the build has ended and its last line is delivered.',
    args: {
      buildId: t.arg.id({ required: true, description: 'Which build.' }),
      after: t.arg.string({ description: 'A cursor that this log has given: go on behind it.' }),
    },
    subscribe: async (_, { buildId, after }, context) => {
      viewerOf(context);
      const build = await context.load.build(buildId);
      if (!build) throw failure('NOT_FOUND', 'You have no build with this id.');
      const number = await startAfter(context.services.db, build, after);
      const { id } = build;
      return mapped(followBuildLog(context.services, build, number), (batch) => wholeBatch(id, batch));
    },
    resolve: (batch) => batch,
  }),
);
