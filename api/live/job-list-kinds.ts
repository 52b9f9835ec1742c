import type { Db } from '../../db/client.ts';
import { jobsOfUsersToRecheck, jobsOfUserToFollow, jobsToFollow, jobsToRecheck } from '../../db/jobs/follow.ts';
import type { ListKind } from './job-lists.ts';

/** The jobs of one workflow. */
export function ofWorkflows(db: Db): ListKind {
  return {
    keyOf: ({ workflowId }) => workflowId,
    read: (key, count) => jobsToFollow(db, key, count),
    readAgain: (asked, count) =>
      jobsToRecheck(
        db,
        asked.map(({ key, ...rest }) => ({ workflowId: key, ...rest })),
        count,
      ),
    newJobsPerLook: 100,
    overlapMs: 0,
  };
}

/** All jobs of one user. */
export function ofUsers(db: Db): ListKind {
  return {
    keyOf: ({ userId }) => userId,
    read: (key, count) => jobsOfUserToFollow(db, key, { count, openMax: OPEN_JOBS_MAX }),
    readAgain: (asked, count) =>
      jobsOfUsersToRecheck(
        db,
        asked.map(({ key, ...rest }) => ({ userId: key, ...rest })),
        count,
      ),
    newJobsPerLook: 1_000,
    overlapMs: 5_000,
  };
}

/** Jobs of one user that have not ended when a subscription begins. Hints name the others. */
const OPEN_JOBS_MAX = 10_000;
