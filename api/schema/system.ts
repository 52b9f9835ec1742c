import { isDatabaseUp } from '../../db/client.ts';
import packageJson from '../../package.json' with { type: 'json' };
import { settledWithin } from '../../platform/async/deadline.ts';
import { type Context, type Services, viewerOf } from '../context.ts';
import { builder } from './builder.ts';
import { cost, STATEMENT_COST } from './cost.ts';
import { describedEnum } from './enums.ts';

const PART_STATUSES = ['UP', 'DOWN', 'EMBEDDED', 'ABSENT'] as const;
export type PartStatus = (typeof PART_STATUSES)[number];

export interface SystemStatusShape {
  version: string;
  database: PartStatus;
  bus: PartStatus;
  cache: PartStatus;
  docker: PartStatus;
}

/**
 * Checks whether each part answers, at most once a second for all callers, so it never asks within
 * the snapshot of one answer. A part that does not answer in time is DOWN.
 */
export function systemStatus(services: Services): Promise<SystemStatusShape> {
  const known = asked.get(services.bus);
  if (known && performance.now() - known.at < ASKED_AGAIN_MS) return known.status;
  const status = askParts(services);
  asked.set(services.bus, { at: performance.now(), status });
  return status;
}

const asked = new WeakMap<Services['bus'], { at: number; status: Promise<SystemStatusShape> }>();
const ASKED_AGAIN_MS = 1_000;

async function askParts({ pool, bus, cache, docker, settings }: Services): Promise<SystemStatusShape> {
  const [database, busStatus, cacheStatus, dockerStatus] = await Promise.all([
    partStatus(isDatabaseUp(pool), settings.databaseEmbedded),
    partStatus(bus.isUp(), bus.embedded),
    partStatus(cache.isUp(), cache.embedded),
    docker && (await docker.isThere()) ? partStatus(docker.isUp(), false) : absent,
  ]);
  return { version: packageJson.version, database, bus: busStatus, cache: cacheStatus, docker: dockerStatus };
}

const PartStatusEnum = describedEnum('PartStatus', 'The state of a part of the system.', PART_STATUSES, {
  UP: 'The part answers.',
  DOWN: 'The part does not answer.',
  EMBEDDED: 'The part runs inside this process, or as its child, and answers.',
  ABSENT: 'The installation has no such part.',
});

/**
 * Only callers who are signed in may read it: a version says which weaknesses to try, and when a
 * part is down.
 */
export const SystemStatus = builder.objectRef<Services>('SystemStatus').implement({
  description:
    'The state of the system. Its fields need a token: without one they are UNAUTHENTICATED, and `/health` says whether the system works.',
  fields: (t) => ({
    version: t.string({
      description: 'The version of the server.',
      resolve: (services, _, context) => statusFor(context, services).then(({ version }) => version),
    }),
    database: t.field({
      type: PartStatusEnum,
      description: 'The state of PostgreSQL.',
      resolve: (services, _, context) => statusFor(context, services).then(({ database }) => database),
    }),
    bus: t.field({
      type: PartStatusEnum,
      description: 'The state of Kafka.',
      resolve: (services, _, context) => statusFor(context, services).then(({ bus }) => bus),
    }),
    cache: t.field({
      type: PartStatusEnum,
      description: 'The state of Redis.',
      resolve: (services, _, context) => statusFor(context, services).then(({ cache }) => cache),
    }),
    docker: t.field({
      type: PartStatusEnum,
      description: 'The state of the Docker engine that this server uses.',
      resolve: (services, _, context) => statusFor(context, services).then(({ docker }) => docker),
    }),
  }),
});

async function statusFor(context: Context, services: Services): Promise<SystemStatusShape> {
  viewerOf(context);
  return systemStatus(services);
}

builder.queryField('system', (t) =>
  t.field({
    type: SystemStatus,
    description: 'The state of the parts of the system, at most a second old.',
    extensions: cost({ base: STATEMENT_COST }),
    resolve: (_, __, { services }) => services,
  }),
);

const absent: PartStatus = 'ABSENT';
const PART_ANSWER_MS_MAX = 2_000;

async function partStatus(answer: Promise<boolean>, embedded: boolean): Promise<PartStatus> {
  const inTime = answer.catch(() => false);
  if (!(await settledWithin(inTime, PART_ANSWER_MS_MAX)) || !(await inTime)) return 'DOWN';
  return embedded ? 'EMBEDDED' : 'UP';
}
