import type { Db } from '../../db/client.ts';
import { insertChunks } from '../../db/logs/append.ts';
import { settleMarkers } from '../../db/logs/markers.ts';
import { newId } from '../../domain/ids.ts';
import { decodeChunks, isChunk, isMarker } from '../../domain/logs/chunk.ts';
import { CONTAINER_POLICY } from '../../domain/payload/container-policy.ts';
import type { Bus } from '../../platform/bus/bus.ts';
import { createMemoryCache } from '../../platform/cache/memory.ts';
import type { Template, Templates } from '../../workers/workflow/builds/template.ts';
import { createRemovals, type Removals } from '../../workers/workflow/engine/removals.ts';
import { type ContainerJobs, createContainerJobs } from '../../workers/workflow/jobs/jobs.ts';
import { sweepContainers } from '../../workers/workflow/sweeps/containers.ts';
import { quiet, testSealer } from '../support/workers.ts';
import { type Connections, dbOf, sideOf } from './connections.ts';
import type { FakeEngine, Fault, Truth } from './engine.ts';
import type { Scheduler } from './scheduler.ts';

/** The part of a workflow worker that runs jobs, put together as in production. */
export interface JobWorker {
  look(): void;
  /** Begins a sweep over the containers of its engine. */
  sweep(): void;
  /** The faults for its next engine calls, by the name of the call. */
  readonly faults: Map<string, Fault>;
  readonly engine: FakeEngine;
  close(): Promise<void>;
}

const INSTALLATION = 'interleavings';
const NOTHING = { reads: new Set<string>(), writes: new Set(['engine']) };

export function startJobWorker(connections: Connections, actor: number, engine: FakeEngine): JobWorker {
  const { scheduler } = connections;
  const db = dbOf(connections, actor);
  const owner = `worker ${actor} ${newId()}`;
  const faults = new Map<string, Fault>();
  const docker = engine.docker(
    (call) => scheduler.step(actor, { ...NOTHING, name: `engine's answer to ${call}` }, async () => undefined),
    faults,
  );
  const removals: Removals = createRemovals({ docker, log: quiet });
  const jobs: ContainerJobs = createContainerJobs({
    db,
    bus: storingBus(scheduler, actor, sideOf(connections, actor)),
    cache: createMemoryCache(),
    log: quiet,
    owner,
    sealer: testSealer,
    docker,
    templates: TEMPLATES,
    images: { find: unused, pull: unused, confirm: async () => undefined, held: unused },
    networks: {
      ensure: async () => 'network',
      hold: (_, run) => run(),
      sweep: async () => 0,
      close: async () => undefined,
    },
    removals,
    disk: { fullSince: () => undefined, close: async () => undefined },
    policy: CONTAINER_POLICY,
    installation: INSTALLATION,
    capacity: 4,
  });
  let sweeping: Promise<unknown> = Promise.resolve();
  let isSweeping = false;
  let closing: Promise<void> | undefined;

  async function close(): Promise<void> {
    await jobs.close();
    await removals.close(AbortSignal.timeout(5_000));
    await sweeping;
  }

  return {
    look: jobs.look,
    faults,
    engine,
    sweep() {
      if (isSweeping || closing !== undefined) return; // one sweep at a time, as in the worker
      isSweeping = true;
      sweeping = sweepContainers({ db, docker, jobs, removals, owner, installation: INSTALLATION })
        .catch((error: unknown) => quiet.warn({ err: error }, 'A sweep failed.'))
        .finally(() => {
          isSweeping = false;
        });
    },
    close() {
      closing ??= close();
      return closing;
    },
  };
}

async function unused(): Promise<never> {
  throw new Error('No image is looked for here.');
}

const TEMPLATE: Template = {
  image: 'image:1',
  isBuilt: true,
  imageId: 'sha256:1',
  timeout_seconds: 3_600,
  network: 'NONE',
  secrets: [],
};
const TEMPLATES: Templates = {
  store: async () => undefined,
  load: async () => TEMPLATE,
  source: async () => undefined,
};

/** Stores printed lines at once, as the joblogs worker does. */
function storingBus(scheduler: Scheduler, actor: number, db: Db): Bus {
  return {
    embedded: true,
    publish: (topic, messages) =>
      scheduler.fly(actor, { ...NOTHING, name: 'storing lines' }, async () => {
        if (topic !== 'job_logs') return;
        const entries = messages.flatMap(({ value }) => decodeChunks(value));
        await insertChunks(db, entries.filter(isChunk));
        await settleMarkers(db, entries.filter(isMarker));
      }),
    partitionOf: async () => 0,
    consume: unused,
    tail: unused,
    isUp: async () => true,
    close: async () => undefined,
  };
}

export function isQuiet(truth: Truth, engines: FakeEngine[]): boolean {
  return truth.running === 0 && engines.every(({ containers }) => containers.size === 0);
}
