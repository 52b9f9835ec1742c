import type { WorkerRow } from '../../db/workers.ts';
import { WORKER_NAMES, WORKER_STATES, waitsForWorker } from '../../domain/workers.ts';
import { viewerOf } from '../context.ts';
import { isOperator, workersNow } from '../workers.ts';
import { builder } from './builder.ts';
import { cost, STATEMENT_COST } from './cost.ts';
import { describedEnum } from './enums.ts';
import { Job } from './job.ts';
import { SystemStatus } from './system.ts';

const WorkerNameEnum = describedEnum('WorkerName', 'What a worker does.', WORKER_NAMES, {
  scheduling: 'It turns due slots into jobs.',
  execution: 'It runs HEARTBEAT jobs.',
  workflow: 'It builds CONTAINER workflows and runs their jobs.',
  joblogs: 'It stores log lines.',
  alerting: 'It sends alerts.',
});

const WorkerStateEnum = describedEnum('WorkerState', 'The state of a worker.', WORKER_STATES, {
  LIVE: 'It gave a sign of life within the last 30 seconds.',
  STOPPED: 'It was stopped as it should.',
  LOST: 'It gave no sign of life for 30 seconds or more, and nobody stopped it.',
});

const OPERATOR_ONLY = 'Only administrators see it; for others it is null.';

const Worker = builder.objectRef<WorkerRow>('Worker').implement({
  description: 'A worker of one process of the installation. Times are those of the database.',
  fields: (t) => ({
    name: t.field({ type: WorkerNameEnum, description: 'What the worker does.', resolve: ({ name }) => name }),
    state: t.field({ type: WorkerStateEnum, description: 'The state of the worker.', resolve: ({ state }) => state }),
    version: t.exposeString('version', { description: 'The version of its program.' }),
    startedAt: t.field({ type: 'DateTime', description: 'When it started.', resolve: ({ startedAt }) => startedAt }),
    lastSeenAt: t.field({
      type: 'DateTime',
      description: 'Its last sign of life. A live worker gives one every 10 seconds.',
      resolve: ({ seenAt }) => seenAt,
    }),
    engineAnswers: t.exposeBoolean('engineAnswers', {
      nullable: true,
      description: 'Whether its Docker engine answered lately. Null for a worker that has none.',
    }),
    host: t.string({
      nullable: true,
      description: `The machine or container that it runs in. ${OPERATOR_ONLY}`,
      resolve: ({ host }, _, { viewer }) => (isOperator(viewer) ? host : null),
    }),
    engine: t.string({
      nullable: true,
      description: `The id of its Docker engine. ${OPERATOR_ONLY}`,
      resolve: ({ engineId }, _, { viewer }) => (isOperator(viewer) ? engineId : null),
    }),
  }),
});

builder.objectField(SystemStatus, 'workers', (t) =>
  t.field({
    type: [Worker],
    description:
      'The workers that gave a sign of life within the last hour, the live ones first, at most 1,000 of them. A process that runs several workers has one entry for each.',
    extensions: cost({ base: STATEMENT_COST, itemsMax: WORKERS_EXPECTED }),
    resolve: (services, _, context) => {
      viewerOf(context);
      return workersNow(services);
    },
  }),
);

builder.objectField(Job, 'waitingReason', (t) =>
  t.string({
    nullable: true,
    description:
      'Why a PENDING or QUEUED job cannot run now, if that is not only its turn: for example, no worker lives that could run it. It is as of the moment of the answer.',
    resolve: async (job, _, { services, load }) =>
      waitsForWorker(job, await workersNow(services)) ??
      (job.status === 'QUEUED' && job.kind === 'CONTAINER' ? await load.waitOfTurn(job.id) : null),
  }),
);

/** For the cost: an installation rarely has more. */
const WORKERS_EXPECTED = 50;
