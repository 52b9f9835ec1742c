import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { SHARED_MEMORY_BYTES, ULIMITS } from './confinement.ts';
import { broken, type Engine } from './engine.ts';
import { engineTime } from './engine-info.ts';
import { EngineError, fromBuild, isEngineError } from './errors.ts';
import type { Images } from './images.ts';
import { jsonLines } from './json-lines.ts';
import { type TarFile, tarOf } from './tar.ts';

export interface ImageBuildSpec {
  /** If another image has this tag, the tag moves to the new image. */
  tag: string;
  dockerfile: string;
  files: TarFile[];
  labels: Record<string, string>;
  cpus: number;
  memoryBytes: number;
  /** `none`, or the name of a network. */
  network: string;
  /** The cgroup below which the steps run. */
  cgroupParent?: string | undefined;
}

export type BuildImage = (
  spec: ImageBuildSpec,
  options: {
    /**
     * Receives each line that the build prints. The build waits for the promise that it returns, so
     * it reads the engine no faster.
     */
    onLine: (line: string) => Promise<void> | undefined;
    signal: AbortSignal;
  },
) => Promise<string>;

/** One document holds at most 32 KiB of output, and JSON may write each byte as six. */
const PROGRESS_LINE_BYTES_MAX = 256 * 1024;
const CPU_PERIOD_MICROSECONDS = 100_000;
/** A longer line becomes several. */
const LINE_LENGTH_MAX = 16 * 1024;
/** When the connection closes, the engine ends a step's container within this time. */
const CLEAR_MS_MAX = 10_000;
/** Far more than a payload's Dockerfile has. */
const STEPS_MAX = 2_000;
const CLEAR_AGAIN_MS = 200;

/**
 * Drives the engine's own builder. Every engine has it, and it stops when its connection closes.
 */
export function createImageBuilder(engine: Engine, images: Images): BuildImage {
  return async (spec, { onLine, signal }) => {
    const since = await engineTime(engine);
    const shown = new Set<string>();
    try {
      return await build(engine, spec, shown, onLine, signal);
    } finally {
      await clear(images, [...shown].reverse(), since);
    }
  };
}

async function build(
  engine: Engine,
  spec: ImageBuildSpec,
  shown: Set<string>,
  onLine: (line: string) => Promise<void> | undefined,
  signal: AbortSignal,
): Promise<string> {
  let built: string | undefined;
  let rest = '';
  // Aborts when a reader fails, too: an unread answer would leave the build running.
  const stopped = new AbortController();
  try {
    const answer = await engine.open({
      method: 'POST',
      path: '/build',
      query: queryOf(spec),
      archive: await tarOf([{ path: 'Dockerfile', content: spec.dockerfile }, ...spec.files]),
      signal: AbortSignal.any([signal, stopped.signal]),
    });
    for await (const line of jsonLines(answer, PROGRESS_LINE_BYTES_MAX)) {
      const step = progress.parse(JSON.parse(line));
      if (step.error !== undefined) throw fromBuild(step.error);
      built = step.aux?.ID ?? built;
      const lines = (rest + (step.stream ?? '')).split('\n');
      rest = lines.pop() ?? '';
      if (rest.length > LINE_LENGTH_MAX) {
        lines.push(rest);
        rest = '';
      }
      for (const text of lines) {
        note(text, shown);
        await onLine(text);
      }
    }
    if (rest !== '') await onLine(rest);
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if (!(error instanceof EngineError)) throw broken(engine.address, error);
    throw error.kind === 'BUSY' ? fromBuild(error.words) : error;
  } finally {
    stopped.abort();
  }
  if (built === undefined) throw broken(engine.address, new Error('the build ended without an image'));
  return built;
}

/** The builder can neither drop capabilities nor forbid new privileges. */
function queryOf({ tag, labels, cpus, memoryBytes, network, cgroupParent }: ImageBuildSpec) {
  return {
    t: tag,
    labels: JSON.stringify(labels),
    rm: true,
    forcerm: true, // also removes the container of a failed step
    memory: memoryBytes,
    memswap: memoryBytes,
    cpuperiod: CPU_PERIOD_MICROSECONDS,
    cpuquota: Math.round(cpus * CPU_PERIOD_MICROSECONDS),
    networkmode: network,
    shmsize: SHARED_MEMORY_BYTES,
    ulimits: JSON.stringify(ULIMITS),
    ...(cgroupParent === undefined ? {} : { cgroupparent: cgroupParent }),
  };
}

/** The builder prints the id of the image that each step has made or found. */
function note(line: string, shown: Set<string>): void {
  const id = /^ ---> ([0-9a-f]{12})$/.exec(line)?.[1];
  if (id !== undefined && shown.size < STEPS_MAX) shown.add(id);
}

/**
 * Removes the images that the steps of a build have made and that no image needs. For a failed
 * build, these are all of them. For a build with several stages, these are the ones that the last
 * stage is not made from. Older images stay, whatever a step of the build prints. Images with a
 * name stay. The engine refuses to remove images that others are made from.
 */
async function clear(images: Images, ids: string[], since: Date): Promise<void> {
  const until = performance.now() + CLEAR_MS_MAX;
  for (const id of ids) {
    for (;;) {
      try {
        const found = await images.lookAt(id);
        if (found?.names.length === 0 && found.createdAt >= since) await images.removeImage(id);
        break;
      } catch (error) {
        const inUse = isEngineError(error, 'CONFLICT') && /being used by/i.test(error.words);
        // The image is needed, or the engine is away. The layers then serve as a cache.
        if (!inUse || performance.now() > until) break;
        await delay(CLEAR_AGAIN_MS);
      }
    }
  }
}

const progress = z.object({
  stream: z.string().optional(),
  error: z.string().optional(),
  aux: z.object({ ID: z.string().optional() }).optional(),
});
