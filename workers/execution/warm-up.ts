import { claimJobs } from '../../db/jobs/claim.ts';
import { endJobs } from '../../db/jobs/finish.ts';
import { loadPayloads } from '../../db/payloads.ts';
import { warmUp } from '../../db/warm-up.ts';
import { newId } from '../../domain/ids.ts';
import type { Parts } from '../shared/parts.ts';

/**
 * Prepares the statements that a check needs, with ids that no job and no workflow has. So the
 * first checks are as fast as later ones. Never rejects.
 */
export async function warmUpExecution({ db, log, owner }: Pick<Parts, 'db' | 'log' | 'owner'>): Promise<void> {
  const [id, workflowId, leaseToken] = [newId(), newId(), newId()];
  try {
    await warmUp(db, async (own) => {
      await claimJobs(own, [id], { owner });
      await loadPayloads(own, [{ workflowId, generation: 0 }]);
      await endJobs(own, [{ id, workflowId, leaseToken, status: 'CANCELED', logLineCount: 0 }]);
    });
  } catch (error) {
    log.debug({ err: error }, 'The first checks take longer: warming up failed.');
  }
}
