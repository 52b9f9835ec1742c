import { sql } from 'drizzle-orm';
import { array } from '../../db/arrays.ts';
import type { Db } from '../../db/client.ts';
import { queueDueSlots } from '../../db/jobs/dispatch.ts';
import * as workflows from '../../db/workflows/workflows.ts';
import type { ContainerPayload, Payload } from '../../domain/payload/payload.ts';

/** Calls a function of db/ and attributes its statements to it. */
export type Drive = <Arguments extends unknown[], Result>(
  verb: (...given: Arguments) => Promise<Result>,
  ...given: Arguments
) => Promise<Result>;

export const SET = 6; // the number of ids passed to a call, in an order other than that of the ids
export const ENGINE = 'engine';
export const HEARTBEAT: Payload = { kind: 'HEARTBEAT' };
export const CONTAINER: ContainerPayload = {
  kind: 'CONTAINER',
  image: 'alpine:3',
  volumes: [
    { name: 'work', path: '/work' },
    { name: 'cache', path: '/cache' },
  ],
};
export const WATCHED = { watchedSeconds: () => Number.POSITIVE_INFINITY };

/**
 * Creates `count` workflows, not in the order of their ids. The builds of containers are QUEUED.
 */
export async function make(db: Db, userId: string, payload: Payload, count = SET, failuresAllowed = 3) {
  const made: { id: string; buildId: string }[] = [];
  for (let n = 0; n < count; n++) {
    const { workflow, buildId } = await workflows.createWorkflow(db, {
      userId,
      name: `test ${n}`,
      payload,
      schedule: { everyMinutes: 60 },
      maxConsecutiveJobFailuresAllowed: failuresAllowed,
    });
    made.unshift({ id: workflow.id, buildId: buildId ?? '' });
  }
  return made;
}

/** Makes slots due and dispatches them. Returns the ids of the QUEUED jobs, not in their order. */
export async function dispatched(db: Db, ofWorkflows: { id: string }[]): Promise<string[]> {
  await db.execute(sql`
    UPDATE schedules SET next_run_at = now(), wake_at = now() WHERE workflow_id = ANY(${array(idsOf(ofWorkflows), 'uuid')})`);
  const { effects } = await queueDueSlots(db, { limit: 100 });
  return idsOf([...effects.dispatched])
    .toSorted()
    .reverse();
}

export const idsOf = (rows: { id: string }[]) => rows.map(({ id }) => id);
