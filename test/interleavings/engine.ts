import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { newId } from '../../domain/ids.ts';
import type { ContainerState } from '../../platform/docker/container-state.ts';
import { createDocker, type Docker } from '../../platform/docker/docker.ts';
import { EngineError } from '../../platform/docker/errors.ts';
import { attemptOf } from '../../workers/workflow/jobs/container.ts';
import { quiet } from '../support/workers.ts';

/**
 * What may happen to the next call of a name: REFUSED is not carried out; UNANSWERED is carried
 * out, but its caller gets no answer.
 */
export type Fault = 'REFUSED' | 'UNANSWERED';

/** What the engines know and the database does not: which programs have run. */
export class Truth {
  readonly wrong: string[] = [];
  readonly #started = new Set<string>();
  readonly #running = new Map<string, string>();

  started({ id, attempt }: { id: string; attempt: number }, where: string, status: string): void {
    if (this.#started.has(`${id} ${attempt}`)) this.wrong.push(`attempt ${attempt} was started twice`);
    const other = this.#running.get(id);
    if (other !== undefined) this.wrong.push(`attempt ${attempt} was started on ${where} beside ${other}`);
    if (status !== 'RUNNING') this.wrong.push(`attempt ${attempt} was started of a job that was ${status}`);
    this.#started.add(`${id} ${attempt}`);
    this.#running.set(id, `attempt ${attempt} on ${where}`);
  }

  ended({ id }: { id: string }): void {
    this.#running.delete(id);
  }

  get running(): number {
    return this.#running.size;
  }
}

interface Container extends ContainerState {
  name: string;
  ended: AbortController;
}

/**
 * An engine in memory. It carries out calls at once; their answers come when the scheduler lets
 * them.
 */
export class FakeEngine {
  readonly id: string;
  readonly containers = new Map<string, Container>();
  isAway = false;
  readonly #truth: Truth;
  readonly #statusOf: (jobId: string) => Promise<string>;
  readonly #runMs: number;

  constructor(
    id: string,
    truth: Truth,
    { runMs, statusOf }: { runMs: number; statusOf: (jobId: string) => Promise<string> },
  ) {
    this.id = id;
    this.#truth = truth;
    this.#statusOf = statusOf;
    this.#runMs = runMs;
  }

  /**
   * The engine as one worker reaches it. `answered` resolves when the answer of a call may come.
   */
  docker(answered: (call: string) => Promise<void>, faults: Map<string, Fault>): Docker {
    const call = async <T>(name: string, act: () => T | Promise<T>): Promise<T> => {
      const fault = this.isAway ? 'REFUSED' : faults.get(name);
      faults.delete(name);
      const result = fault === 'REFUSED' ? undefined : settled(act);
      await answered(name);
      if (this.isAway || fault === 'UNANSWERED') throw new EngineError('UNREACHABLE', 'The engine does not answer.');
      if (result === undefined) throw new EngineError('BUSY', 'The engine is busy.');
      const outcome = await result;
      if ('error' in outcome) throw outcome.error;
      return outcome.value;
    };
    return {
      ...createDocker({ host: 'tcp://127.0.0.1:9', log: quiet }), // what is not replaced below is not called
      engineId: async () => this.id,
      storeId: async () => this.id,
      isUp: async () => !this.isAway,
      clockOffsetMs: async () => 0,
      hasRunSince: async () => true,
      listContainers: () =>
        call('list', () => [...this.containers.values()].map(({ id, name, labels }) => ({ id, name, labels }))),
      inspectContainer: (idOrName) => call('inspect', () => stateOf(this.#find(idOrName))),
      createContainer: (spec) => call('create', () => this.#create(spec.name, spec.labels)),
      startContainer: (id) => call('start', () => this.#start(id)),
      stopContainer: (id) => call('stop', () => this.#end(this.#get(id), 137)),
      removeContainer: (id, { force }) => call('remove', () => this.#remove(id, force)),
      waitContainer: async (id, { timeoutMs, signal }) => {
        const { status, ended } = this.#get(id);
        if (status === 'running') await aborted(AbortSignal.any([ended.signal, signal, after(timeoutMs)]));
        signal.throwIfAborted();
      },
      openLog: async (id, { follow }) => {
        const { status, ended } = this.#get(id);
        const stream = new IncomingMessage(new Socket());
        if (follow && status === 'running') ended.signal.addEventListener('abort', () => stream.push(null));
        else stream.push(null);
        return stream;
      },
    };
  }

  #find(idOrName: string): Container | undefined {
    return this.containers.get(idOrName) ?? [...this.containers.values()].find(({ name }) => name === idOrName);
  }

  #get(id: string): Container {
    const container = this.#find(id);
    if (this.isAway) throw new EngineError('UNREACHABLE', 'The engine does not answer.');
    if (container === undefined) throw new EngineError('NOT_FOUND', `No such container: ${id}`);
    return container;
  }

  #create(name: string, labels: Record<string, string>): string {
    if (this.#find(name) !== undefined) throw new EngineError('CONFLICT', `The name ${name} is in use.`);
    const id = newId();
    const ended = new AbortController();
    const none = { exitCode: 0, oomKilled: false, error: '', startedAt: undefined, finishedAt: undefined };
    this.containers.set(id, { id, name, labels, status: 'created', ended, ...none });
    return id;
  }

  async #start(id: string): Promise<void> {
    const container = this.#get(id);
    if (container.status !== 'created') return;
    Object.assign(container, { status: 'running', startedAt: new Date() });
    const attempt = attemptOf(container);
    if (attempt !== undefined) this.#truth.started(attempt, this.id, await this.#statusOf(attempt.id));
    setTimeout(() => this.#end(container, 0), this.#runMs);
  }

  #end(container: Container, exitCode: number): boolean {
    if (container.status !== 'running') return false;
    Object.assign(container, { status: 'ended', exitCode, finishedAt: new Date() });
    const attempt = attemptOf(container);
    if (attempt !== undefined) this.#truth.ended(attempt);
    container.ended.abort();
    return true;
  }

  #remove(id: string, force: boolean): void {
    const container = this.#find(id);
    if (container === undefined) return;
    if (container.status === 'running' && !force)
      throw new EngineError('CONFLICT', 'You cannot remove a running container.');
    this.#end(container, 137);
    this.containers.delete(container.id);
  }
}

function stateOf(container: Container | undefined): ContainerState | undefined {
  if (container === undefined) return undefined;
  const { ended: _, name: __, ...state } = container;
  return { ...state };
}

type Settled<T> = { value: T } | { error: unknown };

async function settled<T>(act: () => T | Promise<T>): Promise<Settled<T>> {
  try {
    return { value: await act() };
  } catch (error) {
    return { error };
  }
}

function after(ms: number): AbortSignal {
  const controller = new AbortController();
  setTimeout(() => controller.abort(), ms);
  return controller.signal;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
