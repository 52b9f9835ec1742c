import type { Logger } from 'pino';
import { newId } from '../../../domain/ids.ts';
import type { ContainerPolicy } from '../../../domain/payload/container-policy.ts';
import type { ListedContainer } from '../../../platform/docker/containers.ts';
import type { Docker } from '../../../platform/docker/docker.ts';
import { installationLabels } from '../engine/labels.ts';
import type { Removals } from '../engine/removals.ts';

/** The operator's rules for builds, and those that builds share with jobs. */
export interface BuildPolicy extends ContainerPolicy {
  /**
   * BUILD_CGROUP_PARENT: the steps of all builds run below this cgroup, instead of one for each
   * build.
   */
  cgroupParent?: string | undefined;
}

const NAME = 'chronoverse-build-';
const OWNER = 'chronoverse.build.owner';
const UNTIL = 'chronoverse.build.until';
/** The time for pulls and for ending the last step, beyond the build's own limit. */
const MARGIN_SECONDS = 600;

/**
 * Runs a build whose steps share a bound on processes, where the engine or the operator makes that
 * possible. The container that holds the bound ends with the build. The sweep removes what a killed
 * worker leaves.
 */
export async function withBoundProcesses<T>(
  {
    docker,
    removals,
    installation,
    owner,
    policy,
    pids,
    seconds,
  }: {
    docker: Docker;
    removals: Removals;
    installation: string;
    owner: string;
    policy: BuildPolicy;
    pids: number;
    seconds: number;
  },
  run: (cgroupParent: string | undefined) => Promise<T>,
): Promise<T> {
  if (policy.cgroupParent !== undefined) return run(policy.cgroupParent);
  const group = await docker.openProcessGroup({ ...(await holderOf({ docker, installation, owner, seconds })), pids });
  if (group === undefined) return run(undefined);
  try {
    return await run(group.cgroupParent);
  } finally {
    await group.close().catch(() => removals.remove(group.containerId)); // once the engine is back
  }
}

/**
 * The name and the labels of a container that serves a build for at most so many seconds. The sweep
 * removes it when they are over, or its process has ended.
 */
export async function holderOf({
  docker,
  installation,
  owner,
  seconds = 0,
}: {
  docker: Docker;
  installation: string;
  owner: string;
  seconds?: number;
}): Promise<{ name: string; labels: Record<string, string> }> {
  const offsetMs = await docker.clockOffsetMs();
  const until = Date.now() + offsetMs + (seconds + MARGIN_SECONDS) * 1_000;
  const labels = { ...installationLabels(installation), [OWNER]: owner, [UNTIL]: String(until) };
  return { name: `${NAME}${newId()}`, labels };
}

/** Warns when the steps of builds run without a bound on processes. */
export async function warnOfUnboundBuilds(docker: Docker, policy: BuildPolicy, log: Logger): Promise<void> {
  if (!policy.buildsAllowed || policy.cgroupParent !== undefined || (await docker.hasProcessGroups())) return;
  log.warn(
    { engine: docker.address },
    'This Docker engine cannot bound the processes of a build: set BUILD_CGROUP_PARENT to a cgroup that bounds them, or BUILDS_ALLOWED=false.',
  );
}

/**
 * For a container that holds the bound of a build: its process, and its end by the engine's clock
 * in milliseconds. Undefined for any other container.
 */
export function boundsOf({ name, labels }: ListedContainer): { owner: string; until: number } | undefined {
  const owner = labels[OWNER];
  if (!name.startsWith(NAME) || owner === undefined) return undefined;
  const until = Number(labels[UNTIL]);
  return { owner, until: Number.isFinite(until) ? until : 0 };
}
