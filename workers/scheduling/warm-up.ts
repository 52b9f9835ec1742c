import { queueDueSlots } from '../../db/jobs/dispatch.ts';
import { warmUp } from '../../db/warm-up.ts';
import { encodeEvent } from '../../domain/events.ts';
import { PARTITIONS } from '../../platform/bus/partitions.ts';
import type { Parts } from '../shared/parts.ts';

/**
 * Prepares the statement that queues slots, and sends an event without jobs to each partition,
 * which connects to all brokers. So the first slot is as fast as later ones. Never rejects.
 */
export async function warmUpScheduling({ db, bus, log }: Pick<Parts, 'db' | 'bus' | 'log'>): Promise<void> {
  const value = encodeEvent({ type: 'JOBS_QUEUED', kind: 'HEARTBEAT', ids: [] });
  try {
    await Promise.all([
      warmUp(db, (own) => queueDueSlots(own, { limit: 0 })),
      bus.publish(
        'workflows',
        Array.from({ length: PARTITIONS }, () => ({ value })),
      ),
    ]);
  } catch (error) {
    log.debug({ err: error }, 'The first slots take longer: warming up failed.');
  }
}
