import type { LimitExceeded } from '../../db/accounts/user-limits.ts';
import { USER_LIMITS, type UserLimitName, type UserLimits, WITH_DELETED_FACTOR } from '../../domain/limits.ts';
import type { ApiSettings } from '../settings.ts';
import type { UserErrorShape } from './user-error.ts';

/** The limits of one user on this installation. */
export function userLimits({ userLimits }: ApiSettings): UserLimits {
  return { ...USER_LIMITS, ...userLimits };
}

/** The problem of a user who has reached a limit. */
export function limitError({ limit, max }: LimitExceeded): UserErrorShape {
  const { sentence, path } = TEXTS[limit];
  return { code: 'LIMIT_EXCEEDED', message: `${sentence(max.toLocaleString('en'))} (${limit}).`, path };
}

const TEXTS: Record<UserLimitName, { sentence: (max: string) => string; path: string[] | null }> = {
  WORKFLOWS_PER_USER: {
    sentence: (max) =>
      `You may have ${max} workflows, and ${WITH_DELETED_FACTOR} times as many including deleted ones that are not purged: delete one first, and purge deleted ones`,
    path: null,
  },
  PAYLOAD_BYTES_PER_USER: {
    sentence: (max) =>
      `The payloads of your workflows may have ${max} bytes in total: make them smaller, or purge workflows; deleted ones count until they are purged`,
    path: ['payload'],
  },
  GENERATIONS_PER_WORKFLOW: {
    sentence: (max) =>
      `A workflow may have ${max} generations that its jobs still need: wait until some of these jobs have ended, or cancel them`,
    path: ['payload'],
  },
  QUEUED_HEARTBEATS_PER_USER: {
    sentence: (max) =>
      `At most ${max} requested HEARTBEAT jobs of yours may wait: wait until some have started, or cancel them`,
    path: ['id'],
  },
  QUEUED_CONTAINERS_PER_USER: {
    sentence: (max) =>
      `At most ${max} requested CONTAINER jobs of yours may wait: wait until some have started, or cancel them`,
    path: ['id'],
  },
  VOLUMES_PER_USER: {
    sentence: (max) => `You may have ${max} volumes: delete one that no workflow uses (deleteVolume)`,
    path: ['payload'],
  },
  QUEUED_BUILDS_PER_USER: {
    sentence: (max) => `At most ${max} builds of yours may wait or run: wait until some have ended`,
    path: ['payload'],
  },
};
