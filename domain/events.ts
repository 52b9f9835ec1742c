import { z } from 'zod';
import { IDS_PER_EVENT_MAX } from './limits.ts';
import { WORKFLOW_KINDS, type WorkflowKind } from './states.ts';

/**
 * The messages on the topic `workflows`. An event is a hint that says "look at these rows"
 * (docs/internals: rule 1). Its receiver claims the rows, so a duplicate, late or stale event finds
 * nothing to claim.
 */
const workflowEvent = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('JOBS_QUEUED'),
    kind: z.enum(WORKFLOW_KINDS),
    ids: z.array(z.uuid()),
    /**
     * The owner of each id, in the same order, so that a worker can give each user a share before
     * it claims. Absent in events of older versions.
     */
    users: z.array(z.string()).optional(),
  }),
  z.object({ type: z.literal('BUILDS_QUEUED'), ids: z.array(z.uuid()) }),
]);
export type WorkflowEvent = z.infer<typeof workflowEvent>;

export function encodeEvent(event: WorkflowEvent): Buffer {
  return Buffer.from(JSON.stringify(event));
}

/**
 * The event in `value`, or undefined when it holds none. A message that is not ours is dropped,
 * never retried.
 */
export function decodeEvent(value: Buffer): WorkflowEvent | undefined {
  try {
    return workflowEvent.safeParse(JSON.parse(value.toString())).data;
  } catch {
    return undefined; // not JSON
  }
}

/** The events that name `jobs`. There are as few as the bound on ids in an event allows. */
export function jobsQueued(jobs: readonly { id: string; userId: string; kind: WorkflowKind }[]): WorkflowEvent[] {
  return WORKFLOW_KINDS.flatMap((kind) =>
    slices(jobs.filter((job) => job.kind === kind)).map(
      (slice): WorkflowEvent => ({
        type: 'JOBS_QUEUED',
        kind,
        ids: slice.map(({ id }) => id),
        users: slice.map(({ userId }) => userId),
      }),
    ),
  );
}

export function buildsQueued(ids: readonly string[]): WorkflowEvent[] {
  return slices(ids).map((slice) => ({ type: 'BUILDS_QUEUED', ids: slice }));
}

function slices<T>(items: readonly T[]): T[][] {
  const count = Math.ceil(items.length / IDS_PER_EVENT_MAX);
  return Array.from({ length: count }, (_, n) => items.slice(n * IDS_PER_EVENT_MAX, (n + 1) * IDS_PER_EVENT_MAX));
}
