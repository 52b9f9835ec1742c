import { z } from 'zod';

/**
 * Channels of live hints (Redis pub/sub, in process when embedded). A hint may be lost; whoever listens heals by itself with
 * a slow re-check of the rows.
 */

/** A schedule has come nearer than what the scheduling worker sleeps towards: look now. */
export const SCHEDULE_CHANNEL = 'schedule';
/** On that channel: a worker has started, perhaps in the place of one that had taken events and did nothing with them yet. */
export const QUEUED_LOST = 'queued';
/** Jobs or builds whose cancellation was asked for: ids, a JSON array. Their workers stop them. */
export const CANCEL_CHANNEL = 'cancel';

/** The rows of one user that changed. */
export function userChannel(userId: string): string {
  return `user:${userId}`;
}

const changed = z.object({
  jobs: z.array(z.uuid()).optional(),
  builds: z.array(z.uuid()).optional(),
  workflows: z.array(z.uuid()).optional(),
  notifications: z.array(z.uuid()).optional(),
});
export type Changed = z.infer<typeof changed>;

export function encodeChanged(hint: Changed): string {
  return JSON.stringify(hint);
}

export function decodeChanged(message: string): Changed {
  return decode(message, changed) ?? {};
}

export function encodeIds(ids: readonly string[]): string {
  return JSON.stringify(ids);
}

export function decodeIds(message: string): string[] {
  return decode(message, z.array(z.uuid())) ?? [];
}

function decode<T>(message: string, schema: z.ZodType<T>): T | undefined {
  try {
    return schema.safeParse(JSON.parse(message)).data;
  } catch {
    return undefined; // not JSON: no hint of ours
  }
}
