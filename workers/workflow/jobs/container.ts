import { CONTAINER_RESOURCES, CONTAINER_RESOURCES_MAX } from '../../../domain/limits.ts';
import type { ResourceMaximums } from '../../../domain/payload/container-schema.ts';
import { MB, type Mount, type Resources } from '../../../platform/docker/confinement.ts';
import type { ContainerSpec, ListedContainer } from '../../../platform/docker/containers.ts';
import type { Template } from '../builds/template.ts';
import { installationLabels } from '../engine/labels.ts';
import { volumeLabels, volumeName } from '../engine/volumes.ts';

/** The job and the attempt that a container belongs to. */
export interface Attempt {
  id: string;
  attempt: number;
}

const JOB = 'chronoverse.job';
const ATTEMPT = 'chronoverse.attempt';
const WORKFLOW = 'chronoverse.workflow';

/** The name is unique to the attempt, so the engine refuses a second container for it. */
export function containerName({ id, attempt }: Attempt): string {
  return `chronoverse-${id}-${attempt}`;
}

/** What the operator allows a container. */
export interface Bounds {
  most?: ResourceMaximums | undefined;
  /** `none`, or the name of the owner's network or of one that is shared. */
  network?: string | undefined;
  logBytes?: number | undefined;
  diskBytes?: number | undefined;
}

/**
 * `command` replaces the image's entrypoint and `args` follow it. `args` alone go to the image's
 * own entrypoint.
 */
export function toSpec(
  job: Attempt & { workflowId: string; userId: string },
  template: Pick<
    Template,
    | 'imageId'
    | 'command'
    | 'args'
    | 'env'
    | 'working_dir'
    | 'user'
    | 'stop_signal'
    | 'capabilities'
    | 'resources'
    | 'volumes'
  >,
  installation: string,
  { most = CONTAINER_RESOURCES_MAX, network = 'bridge', logBytes, diskBytes }: Bounds = {},
): ContainerSpec {
  return {
    name: containerName(job),
    image: template.imageId,
    entrypoint: template.command,
    args: template.args,
    env: template.env,
    workingDir: template.working_dir,
    user: template.user,
    stopSignal: template.stop_signal,
    capabilities: template.capabilities,
    resources: resourcesOf(template, most),
    network,
    mounts: mountsOf(job, template, installation),
    logBytes,
    diskBytes,
    labels: {
      ...installationLabels(installation),
      [JOB]: job.id,
      [ATTEMPT]: String(job.attempt),
      [WORKFLOW]: job.workflowId,
    },
  };
}

/**
 * What the payload asks for, within what the operator allows now. The maximum may have been higher
 * when the payload was stored.
 */
export function resourcesOf({ resources = {} }: Pick<Template, 'resources'>, most: ResourceMaximums): Resources {
  const { shared_memory_mb: sharedMb } = resources;
  return {
    cpus: Math.min(resources.cpus ?? CONTAINER_RESOURCES.cpus, most.cpus),
    memoryBytes: Math.min(resources.memory_mb ?? CONTAINER_RESOURCES.memoryMb, most.memoryMb) * MB,
    sharedMemoryBytes: sharedMb === undefined ? undefined : Math.min(sharedMb, most.memoryMb) * MB,
    pids: Math.min(resources.pids ?? CONTAINER_RESOURCES.pids, most.pids),
  };
}

/**
 * Undefined for a container that belongs to no job, even when its labels look like ours. A
 * container carries its image's labels too, which an author may write. Only we can choose the name.
 */
export function attemptOf({ name, labels }: Pick<ListedContainer, 'name' | 'labels'>): Attempt | undefined {
  const attempt = { id: labels[JOB] ?? '', attempt: Number(labels[ATTEMPT]) };
  return name === containerName(attempt) ? attempt : undefined;
}

/** The volumes of a template, by their names on the engine. */
function mountsOf(
  { userId }: { userId: string },
  { volumes = [] }: Pick<Template, 'volumes'>,
  installation: string,
): Mount[] {
  return volumes.map(({ name, path, read_only }) => ({
    volume: volumeName({ installation, userId, name }),
    path,
    readOnly: read_only === true,
    labels: volumeLabels({ installation, userId, name }),
  }));
}
