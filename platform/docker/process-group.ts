import { BUILT_REGISTRY } from '../../domain/images/image-reference.ts';
import type { Engine } from './engine.ts';
import { isEngineError } from './errors.ts';
import { tarOf } from './tar.ts';

/** A bound on processes that holds for several containers together. */
export interface ProcessGroup {
  /** The cgroup below which the engine puts the containers. */
  cgroupParent: string;
  /** That keeps it. */
  containerId: string;
  close(): Promise<void>;
}

export interface ProcessGroupSpec {
  /** Of the container that holds the group, unique on the engine. */
  name: string;
  /** For all containers in the group. */
  pids: number;
  labels: Record<string, string>;
}

/** What of an engine decides whether it can make process groups. */
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
 * The engine's builder takes no bound on the processes of a step, but a cgroup to put the step
 * below. So a container that does nothing is started with that bound, and its cgroup is the steps'
 * parent: bounds hold for all below. That needs nothing of the engine's host. It works where a
 * cgroup with processes may have children (version 1) and where cgroups are named by paths
 * (cgroupfs); elsewhere the operator makes a parent (BUILD_CGROUP_PARENT). Undefined: this engine
 * is no such one.
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
      PidsLimit: pids + 1, // itself
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

/**
 * An ELF file of one segment that holds `code`, which waits for ever: no image needs to be there,
 * and none of an author's is run.
 */
function elf(machine: number, code: string): Buffer {
  const headBytes = 0x78;
  const base = 0x400000n;
  const text = Buffer.from(code, 'hex');
  const size = BigInt(headBytes + text.length);
  const head = Buffer.alloc(headBytes);
  head.write('\x7fELF\x02\x01\x01', 'latin1'); // 64 bits, little-endian
  head.writeUInt16LE(2, 0x10); // an executable
  head.writeUInt16LE(machine, 0x12);
  head.writeUInt32LE(1, 0x14);
  head.writeBigUInt64LE(base + BigInt(headBytes), 0x18); // where it begins
  head.writeBigUInt64LE(0x40n, 0x20); // where the segment's header is
  head.writeUInt16LE(0x40, 0x34);
  head.writeUInt16LE(0x38, 0x36);
  head.writeUInt16LE(1, 0x38);
  head.writeUInt32LE(1, 0x40); // to be loaded
  head.writeUInt32LE(5, 0x44); // to be read and executed
  head.writeBigUInt64LE(base, 0x50);
  head.writeBigUInt64LE(base, 0x58);
  head.writeBigUInt64LE(size, 0x60);
  head.writeBigUInt64LE(size, 0x68);
  head.writeBigUInt64LE(0x1000n, 0x70);
  return Buffer.concat([head, text]);
}

/** By the engine's word for the architecture. */
const HOLDERS: Record<string, Buffer | undefined> = {
  x86_64: elf(0x3e, 'b8220000000f05ebf7'), // pause(), and again
  // Ppoll() of nothing, and again.
  aarch64: elf(0xb7, '000080d2010080d2020080d2030080d2280980d2010000d4faffff17'),
};
