import { z } from 'zod';
import { parseImageReference } from '../../domain/images/image-reference.ts';
import { broken, type Engine } from './engine.ts';
import { EngineError, fromPull, isEngineError } from './errors.ts';
import { jsonLines } from './json-lines.ts';

/** Receives a line for a person: one per step, not one per tick of its progress. */
export type PullProgress = (line: string) => void;
export interface PullOptions {
  onProgress: PullProgress;
  signal: AbortSignal;
  /** The login at the image's registry. */
  auth?: Login;
}
export type PullImage = (reference: string, options: PullOptions) => Promise<void>;
interface Login {
  username: string;
  password: string;
}

interface Running {
  done: Promise<void>;
  abort: AbortController;
  listeners: Set<PullProgress>;
}

const PROGRESS_LINE_BYTES_MAX = 64 * 1024;

/**
 * Runs one pull of an image at a time on an engine. Callers that ask with the same login while it
 * runs wait for the same pull.
 */
export function createPuller(engine: Engine): PullImage {
  const pulls = new Map<string, Running>();

  function start(key: string, reference: string, auth: Login | undefined): Running {
    const abort = new AbortController();
    const listeners = new Set<PullProgress>();
    const tell = (line: string) => {
      for (const listener of listeners) listener(line);
    };
    const done = pull(engine, reference, auth, tell, abort.signal).finally(() => {
      if (pulls.get(key) === running) pulls.delete(key);
    });
    const running = { done, abort, listeners };
    pulls.set(key, running);
    return running;
  }

  return async (reference, { onProgress, signal, auth }) => {
    signal.throwIfAborted();
    // The key contains the login, so a caller never waits for what another login gets.
    const key = JSON.stringify([reference, auth?.username, auth?.password]);
    const found = pulls.get(key);
    const running = found ?? start(key, reference, auth);
    if (found !== undefined) onProgress(`Another build pulls ${reference}: waiting for it.`);
    running.listeners.add(onProgress);
    try {
      await Promise.race([running.done, aborted(signal, running.done)]);
    } finally {
      running.listeners.delete(onProgress);
      if (running.listeners.size === 0 && pulls.get(key) === running) {
        pulls.delete(key); // later callers start a new pull
        running.abort.abort(signal.reason);
      }
    }
  };
}

/** Rejects when `signal` aborts. Stops listening to it as soon as `done` settles. */
function aborted(signal: AbortSignal, done: Promise<void>): Promise<never> {
  return new Promise((_, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const forget = () => signal.removeEventListener('abort', onAbort);
    done.then(forget, forget);
  });
}

const progress = z.object({
  status: z.string().optional(),
  id: z.string().optional(),
  progressDetail: z.object({ current: z.number().optional() }).nullish(),
  error: z.string().optional(),
});

/** The engine answers 200 when the pull begins. The lines that follow say how it ends. */
async function pull(
  engine: Engine,
  reference: string,
  auth: Login | undefined,
  tell: PullProgress,
  signal: AbortSignal,
): Promise<void> {
  let failure: EngineError | undefined;
  try {
    const query = { fromImage: reference, ...tagOf(reference) };
    const registryAuth = loginFor(reference, auth);
    const answer = await engine.open({ method: 'POST', path: '/images/create', query, signal, registryAuth });
    for await (const line of jsonLines(answer, PROGRESS_LINE_BYTES_MAX)) {
      const step = progress.parse(JSON.parse(line));
      if (step.error !== undefined) {
        failure = fromPull(step.error, reference);
        throw failure;
      }
      const isTick = step.progressDetail?.current !== undefined;
      if (step.status !== undefined && !isTick) tell(step.id ? `${step.id}: ${step.status}` : step.status);
    }
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if (!(error instanceof EngineError)) throw broken(engine.address, error);
    throw error.kind === 'UNREACHABLE' || error === failure ? error : fromPull(error.words, reference);
  }
}

const ASK_TIMEOUT_MS = 60_000;

/**
 * Resolves if the registry gives the image to this login, or to everyone. A pull does not prove
 * that if the reference has a digest: an engine that has the image asks no registry.
 */
export async function askRegistry(
  engine: Engine,
  reference: string,
  { auth, signal }: Pick<PullOptions, 'auth' | 'signal'>,
): Promise<void> {
  const path = `/distribution/${reference.split('/').map(encodeURIComponent).join('/')}/json`;
  try {
    const registryAuth = loginFor(reference, auth);
    await engine.call({ method: 'GET', path, signal, registryAuth, timeoutMs: ASK_TIMEOUT_MS });
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw isEngineError(error) && error.kind !== 'UNREACHABLE' ? fromPull(error.words, reference) : error;
  }
}

function loginFor(reference: string, auth: Login | undefined) {
  return auth && { ...auth, serveraddress: registryOf(reference) };
}

function registryOf(reference: string): string {
  const registry = parseImageReference(reference).reference?.registry ?? DOCKER_HUB;
  return registry === DOCKER_HUB ? 'https://index.docker.io/v1/' : registry;
}

const DOCKER_HUB = 'docker.io';

/** Without a tag or digest, the engine would pull every tag of the repository. */
function tagOf(reference: string): { tag?: string } {
  const name = reference.slice(reference.lastIndexOf('/') + 1);
  return name.includes(':') || name.includes('@') ? {} : { tag: 'latest' };
}
