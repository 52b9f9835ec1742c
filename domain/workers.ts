import type { JobStatus, WorkflowKind } from './states.ts';

/** The workers of an installation. Each process runs some or all of them. */
export const WORKER_NAMES = ['scheduling', 'execution', 'workflow', 'joblogs', 'alerting'] as const;
export type WorkerName = (typeof WORKER_NAMES)[number];

/** STOPPED: it ended as it should. LOST: it gave no sign of life for a while. */
export const WORKER_STATES = ['LIVE', 'STOPPED', 'LOST'] as const;
export type WorkerState = (typeof WORKER_STATES)[number];

/** What is known of one worker of one process. */
export interface SeenWorker {
  name: WorkerName;
  state: WorkerState;
  /** Seconds since its last sign of life, by the database's clock. */
  silentSeconds: number;
  /** Whether its Docker engine answered lately. Null for a worker that has none. */
  engineAnswers: boolean | null;
}

/** What is wrong with the workers as a whole, in sentences. Empty if every kind of work is done. */
export function workerProblems(workers: SeenWorker[]): string[] {
  const missing = WORKER_NAMES.flatMap((name) => missingWorker(name, workers) ?? []);
  return [...missing, ...(missingEngine(workers) ?? [])];
}

/**
 * Why a job that waits cannot run whatever its turn: nobody does the work that it waits for.
 * Undefined if somebody does, or if the job does not wait.
 */
export function waitsForWorker(
  { status, kind }: { status: JobStatus; kind: WorkflowKind },
  workers: SeenWorker[],
): string | undefined {
  if (status === 'PENDING') return missingWorker('scheduling', workers);
  if (status !== 'QUEUED') return undefined;
  if (kind === 'HEARTBEAT') return missingWorker('execution', workers);
  return missingWorker('workflow', workers) ?? missingEngine(workers)?.[0];
}

function missingWorker(name: WorkerName, workers: SeenWorker[]): string | undefined {
  const named = workers.filter((worker) => worker.name === name);
  if (named.some(({ state }) => state === 'LIVE')) return undefined;
  if (named.length === 0) return `No ${name} worker has been seen lately.`;
  const silent = Math.min(...named.map(({ silentSeconds }) => silentSeconds));
  return `No ${name} worker has been seen for ${inWords(silent)}.`;
}

function missingEngine(workers: SeenWorker[]): string[] | undefined {
  const live = workers.filter(({ name, state }) => name === 'workflow' && state === 'LIVE');
  if (live.length === 0 || live.some(({ engineAnswers }) => engineAnswers)) return undefined;
  return ['No workflow worker reaches its Docker engine.'];
}

function inWords(seconds: number): string {
  const [count, unit] = seconds < 120 ? [Math.floor(seconds), 'second'] : [Math.floor(seconds / 60), 'minute'];
  return `${count} ${unit}${count === 1 ? '' : 's'}`;
}
