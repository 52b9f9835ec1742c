import { sql } from 'drizzle-orm';
import type { AlertDeliveryEvent } from '../../domain/alerts/states.ts';

/**
 * Events that say that something has begun, and those that say that it is over. Deliveries of both
 * name it by their `incident_id`: an incident or an outage. One message may report both.
 */
export const BEGINNINGS = sql.raw(`('WORKFLOW_FAILING', 'PLATFORM_OUTAGE')`);
export const ENDS = sql.raw(`('WORKFLOW_RECOVERED', 'WORKFLOW_TERMINATED', 'PLATFORM_RECOVERED')`);

export function isBeginning(event: AlertDeliveryEvent): boolean {
  return event === 'WORKFLOW_FAILING' || event === 'PLATFORM_OUTAGE';
}
