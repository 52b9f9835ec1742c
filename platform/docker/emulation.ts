import { text } from 'node:stream/consumers';
import { z } from 'zod';
import { BUILT_REGISTRY } from '../../domain/images/image-reference.ts';
import { MB } from './confinement.ts';
import { elf } from './elf.ts';
import { broken, type Engine } from './engine.ts';
import { type EngineInfo, storeOf } from './engine-info.ts';
import { isEngineError } from './errors.ts';
import { tarOf } from './tar.ts';

const REPOSITORY = `${BUILT_REGISTRY}/probe`;
const PATH = 'probe';

/** Who the container is of, so that a sweep removes it when its worker was killed. */
export interface ProbeHolder {
  name: string;
  labels: Record<string, string>;
}

/** Tells whether an engine runs programs, and keeps its answers for a while. */
export interface Emulation {
  runsPrograms(architecture: string, holder: ProbeHolder): Promise<boolean | undefined>;
}

export function createEmulation(engine: Engine, about: EngineInfo): Emulation {
  /** By the engine and the architecture: at most one for each probe that there is. */
  const answers = new Map<string, { answer: Promise<boolean | undefined>; until: number }>();
  return {
    async runsPrograms(architecture, holder) {
      if (PROBES[architecture] === undefined) return undefined;
      const now = performance.now();
      for (const [key, { until }] of answers) if (until <= now) answers.delete(key);
      const key = `${storeOf(await about.ask())} ${architecture}`;
      const known = answers.get(key);
      if (known !== undefined) return known.answer;
      const answer = runsPrograms(engine, architecture, holder);
      answers.set(key, { answer, until: now + ANSWER_KEPT_MS });
      answer.catch(() => answers.delete(key)); // the next one asks again
      return answer;
    },
  };
}

/** An operator may add an emulator meanwhile. */
const ANSWER_KEPT_MS = 300_000;

/**
 * Whether the engine's host runs programs for another architecture, by itself or through an
 * emulator. No engine says so. So a container tries a program of a few bytes that ends at once.
 * Undefined for an architecture for which there is none here.
 */
async function runsPrograms(engine: Engine, architecture: string, holder: ProbeHolder): Promise<boolean | undefined> {
  const program = PROBES[architecture];
  if (program === undefined) return undefined;
  const signal = AbortSignal.timeout(PROBE_MS_MAX);
  const body = {
    Image: `${REPOSITORY}:${architecture}`,
    Entrypoint: [`/${PATH}`],
    Labels: holder.labels,
    HostConfig: {
      AutoRemove: true, // nothing is left if this process ends now
      NetworkMode: 'none',
      ReadonlyRootfs: true,
      CapDrop: ['ALL'],
      SecurityOpt: ['no-new-privileges'],
      LogConfig: { Type: 'none', Config: {} },
      PidsLimit: PROBE_PIDS,
      Memory: PROBE_MEMORY_MB * MB,
    },
  };
  const create = async () => {
    const query = { name: holder.name };
    return created.parse(await engine.call({ method: 'POST', path: '/containers/create', query, body })).Id;
  };
  // The image is imported once: each import would leave the one before without a name.
  const id = await create().catch(async (error: unknown) => {
    if (!isEngineError(error, 'NOT_FOUND')) throw error;
    await importProbe(engine, architecture, program, signal);
    return create();
  });
  try {
    // The engine answers as soon as it watches, so it misses no end.
    const query = { condition: 'removed' };
    const waiting = await engine.open({ method: 'POST', path: `/containers/${id}/wait`, query, signal });
    await engine.call({ method: 'POST', path: `/containers/${id}/start` });
    // Some engines start a program that the kernel then refuses.
    return ended.parse(JSON.parse(await text(waiting))).StatusCode === 0;
  } catch (error) {
    await engine
      .call({ method: 'DELETE', path: `/containers/${id}`, query: { force: true } })
      .catch((left: unknown) => {
        // The engine removes it itself.
        if (!isEngineError(left, 'NOT_FOUND', 'CONFLICT')) throw left;
      });
    // An emulator outside the container counts as none: it could not be started there.
    if (isEngineError(error) && /exec format error|no such file or directory/i.test(error.words)) return false;
    throw isEngineError(error) ? error : broken(engine.address, error);
  }
}

async function importProbe(engine: Engine, architecture: string, program: Buffer, signal: AbortSignal): Promise<void> {
  const archive = await tarOf([{ path: PATH, content: program, executable: true }]);
  const query = { fromSrc: '-', repo: REPOSITORY, tag: architecture };
  try {
    for await (const _ of await engine.open({ method: 'POST', path: '/images/create', query, archive, signal })) {
      // the stream ends when the image is there
    }
  } catch (error) {
    throw isEngineError(error) ? error : broken(engine.address, error);
  }
}

const PROBE_MS_MAX = 30_000;
/** An emulator needs more than the program. */
const PROBE_PIDS = 32;
const PROBE_MEMORY_MB = 256;
const created = z.object({ Id: z.string() });
const ended = z.object({ StatusCode: z.number() });

/** By the name for the architecture that images use: exit(0). */
const PROBES: Record<string, Buffer | undefined> = {
  amd64: elf({ number: 0x3e }, '31ffb83c0000000f05'),
  arm64: elf({ number: 0xb7 }, '000080d2a80b80d2010000d4'),
  '386': elf({ number: 0x03, bits: 32 }, '31dbb801000000cd80'),
  arm: elf({ number: 0x28, bits: 32, flags: 0x05000200 }, '0000a0e30170a0e3000000ef'),
  riscv64: elf({ number: 0xf3 }, '130500009308d00573000000'),
  ppc64le: elf({ number: 0x15, flags: 2 }, '010000380000603802000044'),
  s390x: elf({ number: 0x16, order: 'BIG' }, 'a72900000a01'),
};
