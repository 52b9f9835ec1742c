import type { ClaimedJob } from '../../db/jobs/claim.ts';

/** The first line of an attempt that follows a failed one, as the run policy says. */
export function attemptAfterFailure({
  attempt,
  failureBefore = '',
}: Pick<ClaimedJob, 'attempt' | 'failureBefore'>): string {
  return `Attempt ${attempt} begins, because one before it failed: ${failureBefore}`;
}
