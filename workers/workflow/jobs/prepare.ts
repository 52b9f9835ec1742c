import type { ClaimedJob } from '../../../db/jobs/claim.ts';
import { createMask } from '../../../domain/masking/mask.ts';
import { networkFor, networkProblem } from '../../../domain/payload/container-policy.ts';
import { UnreadableSecret } from '../../../domain/payload/secret.ts';
import type { ContainerState } from '../../../platform/docker/container-state.ts';
import type { ContainerSpec, Docker } from '../../../platform/docker/docker.ts';
import { EngineError, isContainerMissing, isEngineError } from '../../../platform/docker/errors.ts';
import { isNetworkMissing } from '../../../platform/docker/networks.ts';
import type { ImageRequest } from '../builds/image-source.ts';
import type { Template } from '../builds/template.ts';
import { volumeName } from '../engine/volumes.ts';
import { withRetry } from '../retry.ts';
import { containerName, toSpec } from './container.ts';
import { fetchImage } from './fetch-image.ts';
import { failed, type RunOutcome } from './outcome.ts';
import type { RunControl, RunParts, Started } from './run-context.ts';

export type Prepared =
  | ({ type: 'STARTED' } & Started)
  /** It ends without a program having been started. */
  | { type: 'NEVER'; outcome: RunOutcome; containerId: string | undefined }
  | { type: 'NOT_STARTED' }
  /** The engine is there and does not start it, though its payload is not at fault. No container is left. */
  | { type: 'REFUSED'; words: string }
  | { type: 'LEFT' };

/** For an engine or a database that is away when a job is to start; then the job goes back. */
const START_PATIENCE_MS = 30_000;
/** For an engine that refuses: what takes it longer to get over is waited for between attempts, where it holds up nothing else. */
const REFUSED_PATIENCE_MS = 5_000;

/** Gets a started container for the job: the one that was `found`, where it has been started, else a new one. */
export async function prepareContainer(
  parts: RunParts,
  job: ClaimedJob,
  control: RunControl,
  found?: string,
): Promise<Prepared> {
  const { docker, networks, templates, log } = parts;
  let startTried = found !== undefined; // for all that is known before it is looked at
  let startSent = startTried; // until then it runs for sure not, and is nobody else's to start
  const patience = {
    patienceMs: (error: unknown) => {
      if (control.cancel.aborted && !startTried) return 0;
      if (isFinal(error)) return 0;
      return isEngineError(error, 'BUSY') ? REFUSED_PATIENCE_MS : START_PATIENCE_MS;
    },
    onRetry: (error: unknown) => log.debug({ err: error, jobId: job.id }, 'A job could not be started; trying again.'),
    signal: control.leave,
  };
  let containerId = found;
  let mask: ReturnType<typeof createMask>;
  try {
    const template = await withRetry(() => templates.load(job), patience);
    if (template === undefined)
      return never(failed('SYSTEM', 'What this job should run is not stored any more.'), containerId);
    mask = createMask(template.secrets);
    if (found !== undefined) {
      const state = await withRetry(() => docker.inspectContainer(found), patience);
      if (state === undefined) return { type: 'LEFT' }; // gone since it was listed: the sweep over jobs takes the attempt
      if (state.status !== 'created') return started(template, state, true);
      startTried = false;
      startSent = false;
    }
    // What the operator does not allow any more counts against no workflow.
    const problem = networkProblem(template.network, parts.policy);
    if (problem !== undefined) return never(failed('SYSTEM', problem), containerId);

    // Held until it runs: a network without a running container is one that a job of another user would take.
    return await networks.hold(job.userId, async () => {
      const created = await withRetry(() => create(parts, job, template, control), patience);
      if (typeof created !== 'string') return started(template, created, true);
      containerId = created;
      if (control.cancel.aborted) return never({ status: 'CANCELED' }, containerId);
      startTried = true;
      const onSend = () => {
        startSent = true;
      };
      const state = await withRetry(() => start(parts, job, created, control, onSend), patience);
      return started(template, state, false);
    });
  } catch (error) {
    if (control.leave.aborted) return await leave(docker, startSent, containerId);
    if (control.cancel.aborted && !startTried) return never({ status: 'CANCELED' }, containerId);
    if (error instanceof UnreadableSecret) return never(failed('SYSTEM', error.message), containerId);
    const words = isEngineError(error) ? (mask?.text(error.message) ?? error.message) : '';
    if (await isRefusal(docker, error, startTried)) {
      log.warn({ err: error, jobId: job.id, attempt: job.attempt }, 'The Docker engine does not start a job.');
      return (await isCleared(parts, containerId)) ? { type: 'REFUSED', words } : { type: 'LEFT' };
    }
    if (!isEngineError(error) || error.passes) {
      log.warn({ err: error, jobId: job.id }, 'A job could not be started; it goes back.');
      return startTried ? { type: 'LEFT' } : { type: 'NOT_STARTED' };
    }
    // Not found after it was created: somebody removed it, who has taken the job over or meddles with our containers.
    if (startTried && error.kind === 'NOT_FOUND') return { type: 'LEFT' };
    const reason = error.kind === 'NOT_FOUND' || error.kind === 'DENIED' ? 'SYSTEM' : 'START_FAILED';
    return never(failed(reason, words), containerId);
  }
}

function isFinal(error: unknown): boolean {
  return error instanceof UnreadableSecret || (error instanceof EngineError && !error.passes);
}

/**
 * Whether the engine answers and says no to what another engine, or this one later, would do: for a fault of its own, of a registry that does
 * not answer it, or for something that it lacks and that is no image. Of one that gives no answer nothing is known.
 */
async function isRefusal(docker: Docker, error: unknown, startTried: boolean): Promise<boolean> {
  if (isEngineError(error, 'BUSY')) return true;
  if (isEngineError(error, 'NOT_FOUND')) return startTried && !isContainerMissing(error);
  return isEngineError(error, 'UNREACHABLE') && !startTried && (await docker.isUp());
}

/** Removes what was never started, later where the engine refuses that too. False where it was started after all, or that cannot be known now. */
async function isCleared({ docker, removals }: RunParts, containerId: string | undefined): Promise<boolean> {
  if (containerId === undefined) return true; // one whose id was never told is removed by the sweep
  try {
    const state = await docker.inspectContainer(containerId);
    if (state !== undefined && state.status !== 'created') return false;
  } catch (error) {
    if (!isEngineError(error)) throw error;
    return false;
  }
  try {
    await docker.removeContainer(containerId, { force: false });
  } catch (error) {
    if (isEngineError(error, 'CONFLICT')) return false; // it runs
    if (!isEngineError(error)) throw error;
    removals.remove(containerId); // nobody starts it: that was this attempt's to do, and no other one has its number
  }
  return true;
}

/** Told to leave: what nobody has asked the engine to start is cleared away, so that it can begin anew at once elsewhere. */
async function leave(docker: Docker, startSent: boolean, containerId: string | undefined): Promise<Prepared> {
  if (startSent) return { type: 'LEFT' };
  if (containerId !== undefined) await docker.removeContainer(containerId, { force: false });
  return { type: 'NOT_STARTED' };
}

function never(outcome: RunOutcome, containerId?: string): Prepared {
  return { type: 'NEVER', outcome, containerId };
}

function started(template: Template, state: ContainerState, adopted: boolean): Prepared {
  return {
    type: 'STARTED',
    containerId: state.id,
    template,
    startedAt: state.startedAt ?? new Date(),
    adopted,
    endedUnseen: adopted && state.status === 'ended',
  };
}

/** The id of a new container, or the state of one of this attempt that has been started already. */
async function create(
  parts: RunParts,
  job: ClaimedJob,
  template: Template,
  control: RunControl,
): Promise<string | ContainerState> {
  const { images, networks, policy, installation, maxResources, maxLogBytes, maxDiskBytes } = parts;
  const request = {
    userId: job.userId,
    puller: job.id,
    mask: createMask(template.secrets),
    say: () => undefined,
    signal: AbortSignal.any([control.leave, control.cancel]),
  };
  if (!template.isBuilt) await images.confirm(request, template, template.registryAuth);
  const network = networkFor(template.network, policy) === 'NONE' ? 'none' : await networks.ensure(job.userId);
  const bounds = { most: maxResources, network, logBytes: maxLogBytes, diskBytes: maxDiskBytes };
  const spec = toSpec(job, template, installation, bounds);
  await noteVolumes(parts, job, template);
  refuseUnlessFresh(control);
  const made = await createOnEngine(parts, job, template, control, request, spec);
  if (typeof made === 'string') await noteVolumes(parts, job, template, made);
  return made;
}

async function createOnEngine(
  parts: RunParts,
  job: ClaimedJob,
  template: Template,
  control: RunControl,
  request: ImageRequest,
  spec: ContainerSpec,
): Promise<string | ContainerState> {
  const { docker, networks } = parts;
  try {
    return await docker.createContainer(spec);
  } catch (error) {
    if (isNetworkMissing(error)) {
      await networks.ensure(job.userId, { anew: true });
      throw new EngineError('BUSY', 'The network of the container was removed.', { cause: error });
    }
    if (isEngineError(error, 'NOT_FOUND')) {
      const image = await fetchImage(parts, job, template, request);
      refuseUnlessFresh(control);
      return docker.createContainer({ ...spec, image });
    }
    if (!isEngineError(error, 'CONFLICT')) throw error;
    // Of an earlier try whose answer was lost, or of a worker that has lost this job.
    const existing = await docker.inspectContainer(containerName(job));
    if (existing !== undefined && existing.status !== 'created') return existing;
    if (existing !== undefined) await docker.removeContainer(existing.id, { force: false });
    throw new EngineError('BUSY', 'The container of an earlier try was removed.', { cause: error });
  }
}

/**
 * Before the engine makes them: a volume that nobody knows of could not be deleted. And again when it has: a job that this worker has lost
 * meanwhile may have ended, and its volumes be deleted, before the engine made them anew.
 */
async function noteVolumes(
  { docker, noteVolumeUse, installation }: RunParts,
  { userId }: ClaimedJob,
  { volumes = [] }: Template,
  containerId?: string,
): Promise<void> {
  if (volumes.length === 0) return;
  const names = volumes.map(({ name }) => name);
  const deleted = await noteVolumeUse({ userId, names, engineId: await docker.engineId() });
  if (deleted.length === 0) return;
  if (containerId !== undefined) await docker.removeContainer(containerId, { force: false });
  for (const name of deleted) await docker.removeVolume(volumeName({ installation, userId, name }));
  throw new EngineError('NOT_FOUND', `The volume ${deleted[0]} of this job was deleted.`);
}

/** Started twice means started once while it runs; one that has run and ended is not started again. */
async function start(
  { docker, networks }: RunParts,
  job: ClaimedJob,
  containerId: string,
  control: RunControl,
  onSend: () => void,
): Promise<ContainerState> {
  const before = await docker.inspectContainer(containerId);
  if (before === undefined) throw new EngineError('NOT_FOUND', `No such container: ${containerId}`);
  if (before.status !== 'created') return before;
  refuseUnlessFresh(control);
  control.leave.throwIfAborted();
  onSend();
  try {
    await docker.startContainer(containerId);
  } catch (error) {
    if (!isNetworkMissing(error)) throw error;
    await networks.ensure(job.userId, { anew: true }); // removed by a sweep while nothing ran on it
    throw new EngineError('BUSY', 'The network of the container was removed.', { cause: error });
  }
  return { ...before, status: 'running', startedAt: new Date() };
}

function refuseUnlessFresh({ isFresh }: RunControl): void {
  if (!isFresh()) throw new Error('The lease could not be renewed in time');
}
