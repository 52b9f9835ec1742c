import { BUILT_REGISTRY } from '../../domain/images/image-reference.ts';
import { elf } from './elf.ts';
import type { Engine } from './engine.ts';
import { isEngineError } from './errors.ts';
import { tarOf } from './tar.ts';

/** A bound on processes that several containers share. */
export interface ProcessGroup {
  /** The cgroup below which the engine puts the containers. */
  cgroupParent: string;
  /** The container that keeps the group. */
  containerId: string;
  close(): Promise<void>;
}

export interface ProcessGroupSpec {
  /** The name of the container that keeps the group, unique on the engine. */
  name: string;
  /** The bound for all containers in the group together. */
  pids: number;
  labels: Record<string, string>;
}

/** What decides whether an engine can make process groups. */
export interface Cgroups {
  driver: string;
  version: string;
  architecture: string;
}

const PARENT = '/chronoverse';
const IMAGE = { repo: `${BUILT_REGISTRY}/holder`, tag: '1' };
const PATH = 'holder';

/** Whether `openProcessGroup` can bound processes on such an engine. */
export function hasProcessGroups({ driver, version, architecture }: Cgroups): boolean {
  return driver === 'cgroupfs' && version === '1' && HOLDERS[architecture] !== undefined;
}

/**
 * The engine's builder has no bound on the processes of a step, but it can put the step below a
 * cgroup. So a container that does nothing starts with that bound, and its cgroup becomes the
 * steps' parent: a bound holds for everything below it. This needs nothing from the engine's host.
 * It works if a cgroup with processes may have children (version 1) and if paths name cgroups
 * (cgroupfs). Elsewhere the operator makes a parent (BUILD_CGROUP_PARENT). Undefined if this engine
 * cannot do it.
 */
export async function openProcessGroup(
  engine: Engine,
  cgroups: Cgroups,
  { name, pids, labels }: ProcessGroupSpec,
): Promise<ProcessGroup | undefined> {
  const program = HOLDERS[cgroups.architecture];
  if (program === undefined || !hasProcessGroups(cgroups)) return undefined;
  const body = {
    Image: `${IMAGE.repo}:${IMAGE.tag}`,
    Entrypoint: [`/${PATH}`],
    Labels: labels,
    HostConfig: {
      CgroupParent: PARENT,
      PidsLimit: pids + 1, // one more for itself
      NetworkMode: 'none',
      ReadonlyRootfs: true,
      CapDrop: ['ALL'],
      SecurityOpt: ['no-new-privileges'],
      LogConfig: { Type: 'none', Config: {} },
    },
  };
  const create = () => engine.call({ method: 'POST', path: '/containers/create', query: { name }, body });
  let created: unknown;
  try {
    created = await create();
  } catch (error) {
    if (!isEngineError(error, 'NOT_FOUND')) throw error;
    await importImage(engine, program);
    created = await create();
  }
  const id = idOf(created);
  const close = () => remove(engine, id);
  try {
    await engine.call({ method: 'POST', path: `/containers/${id}/start` });
  } catch (error) {
    await close();
    throw error;
  }
  return { cgroupParent: `${PARENT}/${id}`, containerId: id, close };
}

async function importImage(engine: Engine, program: Buffer): Promise<void> {
  const archive = await tarOf([{ path: PATH, content: program, executable: true }]);
  const query = { fromSrc: '-', ...IMAGE };
  const answer = await engine.open({ method: 'POST', path: '/images/create', query, archive });
  for await (const _ of answer) {
    // the stream ends when the image is there
  }
}

async function remove(engine: Engine, id: string): Promise<void> {
  try {
    await engine.call({ method: 'DELETE', path: `/containers/${id}`, query: { force: true, v: true } });
  } catch (error) {
    if (!isEngineError(error, 'NOT_FOUND')) throw error;
  }
}

function idOf(created: unknown): string {
  if (typeof created === 'object' && created !== null && 'Id' in created && typeof created.Id === 'string')
    return created.Id;
  throw new Error('The engine made a container and gave no id of it.');
}

/** By the engine's name for the architecture. */
const HOLDERS: Record<string, Buffer | undefined> = {
  x86_64: elf({ number: 0x3e }, 'b8220000000f05ebf7'), // pause(), in a loop
  // ppoll() of nothing, in a loop.
  aarch64: elf({ number: 0xb7 }, '000080d2010080d2020080d2030080d2280980d2010000d4faffff17'),
};
