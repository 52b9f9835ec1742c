import type { IncomingMessage } from 'node:http';
import type { ClaimedJob } from '../../../db/jobs/claim.ts';
import { createMask } from '../../../domain/masking/mask.ts';
import {
  type ContainerPolicy,
  capabilitiesProblem,
  networkFor,
  networkProblem,
  sharedNetworkProblem,
} from '../../../domain/payload/container-policy.ts';
import { UnreadableSecret } from '../../../domain/payload/secret.ts';
import { retry } from '../../../platform/async/retry.ts';
import type { ContainerState } from '../../../platform/docker/container-state.ts';
import type { ContainerSpec } from '../../../platform/docker/containers.ts';
import type { Docker } from '../../../platform/docker/docker.ts';
import { EngineError, isContainerMissing, isEngineError } from '../../../platform/docker/errors.ts';
import { isNetworkMissing } from '../../../platform/docker/networks.ts';
import type { ImageRequest } from '../builds/image-source.ts';
import type { Template } from '../builds/template.ts';
import type { Pass } from '../engine/other-engines.ts';
import { volumePlace } from '../engine/volume-places.ts';
import { containerName, toSpec } from './container.ts';
import { fetchImage } from './fetch-image.ts';
import { apart } from './needs.ts';
import { failed, type RunOutcome } from './outcome.ts';
import { imageNeed } from './placement.ts';
import type { RunControl, RunParts, Started } from './run-context.ts';
import { setVolumeOwners } from './volume-owners.ts';
import { findVolumes, noteVolumes, placeVolumes, RunsElsewhere, refuseDistant } from './volumes.ts';

export type Prepared =
  | ({ type: 'STARTED' } & Started)
  /** It ends without a program having been started. */
  | { type: 'NEVER'; outcome: RunOutcome; containerId: string | undefined }
  | { type: 'NOT_STARTED' }
  /** Another engine has what the job needs. No container is left. */
  | { type: 'ELSEWHERE'; pass: Pass }
  /** The engine is there and does not start it, though its payload is not at fault. No container is left. */
  | { type: 'REFUSED'; words: string }
  | { type: 'LEFT' };

/** Between two requests to an engine that has failed at one. */
export const ENGINE_BACKOFF_MS = { minMs: 250, maxMs: 5_000 };
/**
 * How long a start waits for an engine or a database that is away. After that, the job goes back.
 */
const START_RETRY_MS = 30_000;
/**
 * How long a start waits for an engine that refuses. A longer wait happens between attempts, where
 * it blocks nothing else.
 */
const REFUSED_RETRY_MS = 5_000;

/** Gets a started container for the job: `found` when it has been started, otherwise a new one. */
export async function prepareContainer(
  parts: RunParts,
  job: ClaimedJob,
  control: RunControl,
  found?: string,
): Promise<Prepared> {
  const { docker, networks, templates, log } = parts;
  let startTried = found !== undefined; // as far as anybody knows before the inspection
  // Until then it certainly does not run, and only this attempt may start it.
  let startSent = startTried;
  const retries = {
    ...ENGINE_BACKOFF_MS,
    timeoutMs: (error: unknown) => {
      if (control.cancel.aborted && !startTried) return 0;
      if (isFinal(error)) return 0;
      return isEngineError(error, 'BUSY') ? REFUSED_RETRY_MS : START_RETRY_MS;
    },
    onRetry: (error: unknown) => log.debug({ err: error, jobId: job.id }, 'A job could not be started; trying again.'),
    signal: control.leave,
  };
  let containerId = found;
  let mask: ReturnType<typeof createMask>;
  let output: IncomingMessage | undefined;
  let isStarted = false;
  try {
    const template = await retry(retries, () => templates.load(job));
    if (template === undefined)
      return never(failed('SYSTEM', 'What this job should run is not stored any more.'), containerId);
    mask = createMask(template.secrets);
    if (found !== undefined) {
      const state = await retry(retries, () => docker.inspectContainer(found));
      // It is gone since the list: the sweep over jobs ends the attempt.
      if (state === undefined) return { type: 'LEFT' };
      if (state.status !== 'created') return started(template, state, true);
      startTried = false;
      startSent = false;
    }
    // A rule of the operator's never counts against a workflow.
    const problem = refusal(template, parts.policy);
    if (problem !== undefined) return never(failed('SYSTEM', problem), containerId);

    // Held until the container runs: another user's job may take a network on which nothing runs.
    return await networks.hold(job.userId, async () => {
      const created = await retry(retries, () => create(parts, job, template, control));
      if (typeof created !== 'string') return started(template, created, true);
      containerId = created;
      if (control.cancel.aborted) return never({ status: 'CANCELED' }, containerId);
      startTried = true;
      const onSend = () => {
        startSent = true;
      };
      const attach = async (before: ContainerState) => {
        output ??= await attachTo(docker, before, job, control.leave);
      };
      const state = await retry(retries, () => start(parts, job, template, created, control, { attach, onSend }));
      isStarted = true;
      return started(template, state, false, output);
    });
  } catch (error) {
    if (control.leave.aborted) return await leave(docker, startSent, containerId);
    if (control.cancel.aborted && !startTried) return never({ status: 'CANCELED' }, containerId);
    if (error instanceof RunsElsewhere) return { type: 'ELSEWHERE', pass: error.pass };
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
    // Not found after its creation: somebody removed it, either a worker that took the job over or
    // an operator.
    if (startTried && error.kind === 'NOT_FOUND') return { type: 'LEFT' };
    log.info({ err: error, jobId: job.id }, 'A job could not be started.');
    const reason = error.kind === 'NOT_FOUND' || error.kind === 'DENIED' ? 'SYSTEM' : 'START_FAILED';
    return never(failed(reason, words), containerId);
  } finally {
    if (!isStarted) output?.destroy();
  }
}

/**
 * What the container will print, if that may be read live. Otherwise its log is read.
 *
 * - The log must give back the same bytes, because another worker continues from there.
 * - The lines before must be counted: while this worker waits for that, the container would wait.
 * - The engine must be on this machine. It would wait for a connection that a network has dropped,
 *   for a quarter of an hour.
 */
async function attachTo(
  docker: Docker,
  { id, logDriver }: ContainerState,
  { linesBefore }: ClaimedJob,
  signal: AbortSignal,
): Promise<IncomingMessage | undefined> {
  if (logDriver !== 'local' || linesBefore === undefined || !docker.address.startsWith('unix://')) return undefined;
  try {
    const output = await docker.attachOutput(id, { signal });
    output.on('error', () => undefined); // it may break before it is read, and its reader sees that
    return output;
  } catch (error) {
    signal.throwIfAborted();
    if (!isEngineError(error)) throw error;
    return undefined;
  }
}

/** What the operator does not allow, or no longer. */
function refusal({ network, network_name: name, capabilities }: Template, policy: ContainerPolicy): string | undefined {
  return (
    networkProblem(network, policy) ?? sharedNetworkProblem(name, policy) ?? capabilitiesProblem(capabilities, policy)
  );
}

function isFinal(error: unknown): boolean {
  return (
    error instanceof UnreadableSecret ||
    error instanceof RunsElsewhere ||
    (error instanceof EngineError && !error.passes)
  );
}

/**
 * Whether the engine refuses what another engine, or this one later, would do: because of a fault
 * of its own, a registry that does not answer it, or something missing other than the image. An
 * engine that gives no answer tells nothing.
 */
async function isRefusal(docker: Docker, error: unknown, startTried: boolean): Promise<boolean> {
  if (isEngineError(error, 'BUSY')) return true;
  if (isEngineError(error, 'NOT_FOUND')) return startTried && !isContainerMissing(error);
  return isEngineError(error, 'UNREACHABLE') && !startTried && (await docker.isUp());
}

/**
 * Removes a container that was never started, later if the engine refuses now. False if it was
 * started after all, or if nobody can know now.
 */
async function isCleared({ docker, removals }: RunParts, containerId: string | undefined): Promise<boolean> {
  // The sweep removes a container whose id never arrived.
  if (containerId === undefined) return true;
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
    // Nobody else starts it: only this attempt would, and its number is unique.
    removals.remove(containerId);
  }
  return true;
}

/**
 * Removes a container that nobody has asked the engine to start, so that the job can start
 * elsewhere at once.
 */
async function leave(docker: Docker, startSent: boolean, containerId: string | undefined): Promise<Prepared> {
  if (startSent) return { type: 'LEFT' };
  if (containerId !== undefined) await docker.removeContainer(containerId, { force: false });
  return { type: 'NOT_STARTED' };
}

function never(outcome: RunOutcome, containerId?: string): Prepared {
  return { type: 'NEVER', outcome, containerId };
}

function started(template: Template, state: ContainerState, adopted: boolean, output?: IncomingMessage): Prepared {
  return {
    type: 'STARTED',
    containerId: state.id,
    template,
    startedAt: state.startedAt ?? new Date(),
    adopted,
    endedUnseen: adopted && state.status === 'ended',
    output,
  };
}

/** The id of a new container, or the state of one that this attempt has already started. */
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
  if (!template.isBuilt) await images.confirm(request, template, template.registry_auth);
  const isOwn = template.network_name === undefined && networkFor(template.network, policy) === 'BRIDGE';
  const network = isOwn ? await networks.ensure(job.userId) : (template.network_name ?? 'none');
  const bounds = { most: maxResources, network, logBytes: maxLogBytes, diskBytes: maxDiskBytes };
  const spec = toSpec(job, template, installation, bounds);
  // Before the volumes: otherwise an engine that cannot get the image would have them for good.
  if (template.volumes?.length && (await parts.docker.lookAt(spec.image)) === undefined) {
    await refuseDistant(await findVolumes(parts, job, template), control);
    spec.image = await getImage(parts, job, template, control, request);
  }
  await placeVolumes(parts, job, template, control);
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
    if (isNetworkMissing(error)) throw await networkGone(networks, job, template, error);
    if (isEngineError(error, 'NOT_FOUND')) {
      const image = await getImage(parts, job, template, control, request);
      refuseUnlessFresh(control);
      return docker.createContainer({ ...spec, image });
    }
    if (!isEngineError(error, 'CONFLICT')) throw error;
    // From an earlier try whose answer was lost, or from a worker that has lost this job.
    const existing = await docker.inspectContainer(containerName(job));
    if (existing !== undefined && existing.status !== 'created') return existing;
    if (existing !== undefined) await docker.removeContainer(existing.id, { force: false });
    throw new EngineError('BUSY', 'The container of an earlier try was removed.', { cause: error });
  }
}

/** The id of the image on this engine, which did not have it. */
async function getImage(
  parts: RunParts,
  job: ClaimedJob,
  template: Template,
  control: RunControl,
  request: ImageRequest,
): Promise<string> {
  try {
    return await fetchImage(parts, job, template, request);
  } catch (error) {
    if (!isEngineError(error) || error.isAway) throw error;
    const volumes = volumePlace(await findVolumes(parts, job, template));
    const need = imageNeed(template, await parts.docker.storeId(), volumes);
    const pass = await control.passFor(need);
    if (pass !== undefined) throw new RunsElsewhere(pass);
    const why = error.kind === 'NOT_FOUND' && !template.isBuilt && apart(template.image, template.engineId, volumes);
    throw why ? new EngineError('NOT_FOUND', why, { cause: error }) : error;
  }
}

/**
 * Starting a running container again changes nothing. A container that has ended is not started
 * again.
 */
async function start(
  { docker, networks }: RunParts,
  job: ClaimedJob,
  template: Template,
  containerId: string,
  control: RunControl,
  { attach, onSend }: { attach: (before: ContainerState) => Promise<void>; onSend: () => void },
): Promise<ContainerState> {
  const before = await docker.inspectContainer(containerId);
  if (before === undefined) throw new EngineError('NOT_FOUND', `No such container: ${containerId}`);
  if (before.status !== 'created') return before;
  await setVolumeOwners(docker, before, template, control.leave);
  await attach(before);
  refuseUnlessFresh(control);
  control.leave.throwIfAborted();
  onSend();
  try {
    await docker.startContainer(containerId);
  } catch (error) {
    if (!isNetworkMissing(error)) throw error;
    throw await networkGone(networks, job, template, error);
  }
  return { ...before, status: 'running', startedAt: new Date() };
}

/** A sweep removes a user's network while nothing runs on it. A shared one is the operator's. */
async function networkGone(
  networks: RunParts['networks'],
  { userId }: ClaimedJob,
  { network_name: shared }: Template,
  cause: unknown,
): Promise<EngineError> {
  if (shared !== undefined)
    return new EngineError('BUSY', `The network ${JSON.stringify(shared)} is not on the Docker engine.`, { cause });
  await networks.ensure(userId, { anew: true });
  return new EngineError('BUSY', 'The network of the container was removed.', { cause });
}

function refuseUnlessFresh({ isFresh }: RunControl): void {
  if (!isFresh()) throw new Error('The lease could not be renewed in time');
}
