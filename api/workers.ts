import type { Identity } from '../db/accounts/tokens.ts';
import { listWorkers, type WorkerRow } from '../db/workers.ts';
import type { Services } from './context.ts';

/** The workers of the installation, at most a second old: many jobs ask for them. */
export function workersNow(services: Services): Promise<WorkerRow[]> {
  const known = asked.get(services);
  if (known && performance.now() - known.at < ASKED_AGAIN_MS) return known.workers;
  const workers = listWorkers(services.db);
  asked.set(services, { at: performance.now(), workers });
  return workers;
}

const asked = new WeakMap<Services, { at: number; workers: Promise<WorkerRow[]> }>();
const ASKED_AGAIN_MS = 1_000;

/** Whether the caller may know machines: their names and engines say what can be attacked. */
export function isOperator(identity: Identity | undefined): boolean {
  return identity?.user.administrator === true;
}
