import { z } from 'zod';

/**
 * Channels of live hints (Redis pub/sub, or in the process when embedded). A hint may be lost, so
 * each receiver also reads the rows by itself, less often.
 */

/** A schedule is due earlier than the scheduling worker expects. */
export const SCHEDULE_CHANNEL = 'schedule';
/**
 * A message on that channel. It says that a worker has started, perhaps in place of one that
 * crashed with events in its memory.
 */
export const QUEUED_LOST = 'queued';
/** Jobs and builds that their workers must stop: a JSON array of ids. */
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
