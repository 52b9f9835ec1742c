import type { Generation } from '../../../db/payloads.ts';
import { readDockerfile, triggersProblem } from '../../../domain/dockerfile/dockerfile.ts';
import { IMAGE_LABELS } from '../../../domain/dockerfile/pairs.ts';
import { type Printed, printDockerfile } from '../../../domain/dockerfile/print.ts';
import { isId } from '../../../domain/ids.ts';
import { BUILT_REGISTRY, registryOf } from '../../../domain/images/image-reference.ts';
import { CONTAINER_RESOURCES_MAX } from '../../../domain/limits.ts';
import { BUILDS_REFUSED, networkFor, networkProblem } from '../../../domain/payload/container-policy.ts';
import type { ContainerNetwork, PullPolicy, ResourceMaximums } from '../../../domain/payload/container-schema.ts';
import type { ImageBuild } from '../../../domain/payload/payload.ts';
import type { RegistryAuth } from '../../../domain/payload/registry-auth.ts';
import { MB } from '../../../platform/docker/confinement.ts';
import type { Docker } from '../../../platform/docker/docker.ts';
import { EngineError, isEngineError } from '../../../platform/docker/errors.ts';
import type { UserNetworks } from '../engine/networks.ts';
import type { Removals } from '../engine/removals.ts';
import { type BuildPolicy, withBoundProcesses } from './bounds.ts';
import type { ImageRequest, ImageSource } from './image-source.ts';
import { checkPlatform } from './platform.ts';

// Not the labels of containers: a container carries its image's labels too, and would look like one
// of ours.
const LABEL_PREFIX = IMAGE_LABELS;
const INSTALLATION = `${LABEL_PREFIX}installation`;
const WORKFLOW = `${LABEL_PREFIX}workflow`;
const GENERATION = `${LABEL_PREFIX}generation`;

export const BUILT_PREFIX = `${BUILT_REGISTRY}/workflow/`;

/** The tag of the image built for a generation. No payload can name it. */
export function builtTag({ workflowId, generation }: Generation): string {
  return `${BUILT_PREFIX}${workflowId}:${generation}`;
}

export function builtLabels(installation: string, generation?: Generation): Record<string, string> {
  return {
    [INSTALLATION]: installation,
    ...(generation && { [WORKFLOW]: generation.workflowId, [GENERATION]: String(generation.generation) }),
  };
}

/**
 * The labels of each layer that a step makes. A build that is stopped while the engine writes a
 * layer leaves it without telling anybody. A layer belongs to a workflow, so its generations share
 * layers and no other workflow finds them. The empty generation overrides what the base image may
 * claim.
 */
function layerLabels(installation: string, { workflowId }: Generation): Record<string, string> {
  return { [INSTALLATION]: installation, [WORKFLOW]: workflowId, [GENERATION]: '' };
}

/** The workflow whose layer an unnamed image is. */
export function layerOf({ labels, tags }: { labels: Record<string, string>; tags: string[] }): string | undefined {
  const workflowId = labels[WORKFLOW];
  const isLayer = tags.length === 0 && !labels[GENERATION];
  return isLayer && workflowId !== undefined && isId(workflowId) ? workflowId : undefined;
}

export function generationOf({ labels }: { labels: Record<string, string> }): Generation | undefined {
  const workflowId = labels[WORKFLOW];
  const generation = Number(labels[GENERATION] || undefined); // NaN where there is none
  return workflowId !== undefined && isId(workflowId) && Number.isSafeInteger(generation)
    ? { workflowId, generation }
    : undefined;
}

export interface BuildContext extends ImageRequest {
  docker: Docker;
  images: ImageSource;
  networks: UserNetworks;
  removals: Removals;
  installation: string;
  /** The name of this process. */
  owner: string;
  policy: BuildPolicy;
  maxResources?: ResourceMaximums | undefined;
  /** The longest time that the build may take. */
  maxSeconds: number;
  /** Writes a line of our own. The caller waits for the promise. */
  say: (line: string) => Promise<void> | undefined;
  /**
   * Writes a line that the engine reports of the build. Steps print there, so it does not count as
   * ours.
   */
  output: (line: string) => Promise<void> | undefined;
}

/**
 * The most lines of a build to keep: a step that never stops printing prints until the time limit.
 */
const LINES_MAX = 100_000;

/** What to build, and what the payload says of its containers: that also holds for the steps. */
export interface Built extends Generation {
  source: ImageBuild;
  network?: ContainerNetwork | undefined;
  /** The processes that the steps may have. */
  pids?: number | undefined;
  /** For the registry of the first image that the Dockerfile names. No other registry sees it. */
  auth?: RegistryAuth<never> | undefined;
  /** For the images that the Dockerfile names. */
  pullPolicy?: PullPolicy | undefined;
}

/** Builds a generation's Dockerfile on the engine. Resolves with the image's id. */
export async function buildDockerfile(context: BuildContext, built: Built): Promise<string> {
  const { docker, images, installation, maxResources = CONTAINER_RESOURCES_MAX, say, output, signal } = context;
  const { source, auth, pullPolicy, ...generation } = built;
  const { dockerfile, files = [] } = source;
  if (!context.policy.buildsAllowed) throw new EngineError('INVALID', BUILDS_REFUSED);
  const { dockerfile: judged, problems = [] } = readDockerfile(dockerfile);
  if (judged === undefined) throw new EngineError('INVALID', problems.join(' '));
  const registry = judged.images[0] === undefined ? undefined : registryOf(judged.images[0]);
  const ids = new Map<string, string>();
  for (const image of judged.images) {
    // We pull here, not the builder, to report what a registry says and to pull the same image
    // once.
    const login = registryOf(image) === registry ? auth : undefined;
    const { id, onBuild } = await images.find(context, { image, auth: login, pullPolicy });
    const problem = triggersProblem(onBuild);
    if (problem !== undefined) throw new EngineError('INVALID', `The image ${image} ${problem}`);
    ids.set(image, id);
  }
  const printed = printDockerfile(judged, {
    labels: layerLabels(installation, generation),
    idOf: (image) => builderId(ids.get(image)),
  });
  let lines = 0;
  const spec = {
    tag: builtTag(generation),
    dockerfile: printed.text,
    files,
    labels: builtLabels(installation, generation),
    cpus: Math.min(BUILD_CPUS, maxResources.cpus),
    memoryBytes: Math.min(BUILD_MEMORY_MB, maxResources.memoryMb) * MB,
  };
  const ours = printed.text.split('\n').filter((line) => line.startsWith(`LABEL ${LABEL_PREFIX}`));
  const print = withoutOurLabels(ours.length + Object.keys(spec.labels).length, (line) => {
    lines += 1;
    if (lines > LINES_MAX) return undefined;
    return lines < LINES_MAX ? output(line) : say(`It has printed ${LINES_MAX} lines: what follows is left out.`);
  });
  const building = inBounds(context, built, (network, cgroupParent) =>
    docker.buildImage(
      { ...spec, network, cgroupParent },
      { onLine: (line) => print(withImageNames(line, printed)), signal },
    ),
  );
  const id = await building.catch((error: unknown): never => {
    if (isEngineError(error, 'INVALID')) throw withOriginalLine(error, printed);
    if (!isEngineError(error)) throw error;
    const { kind, message, words, isAway, cause } = error;
    throw new EngineError(kind, message, { words, isAway, inSteps: true, cause });
  });
  // FROM can choose the platform of its image.
  const made = await docker.findNamedImage(spec.tag);
  await checkPlatform(context, 'of the Dockerfile', made?.platform, say);
  return id;
}

/**
 * The builder takes exactly these digits as an id, and asks no registry for an image of that name.
 */
function builderId(id = ''): string {
  const digits = /^sha256:([a-f0-9]{64})$/.exec(id)?.[1];
  if (digits === undefined) throw new Error(`The engine gave the image id "${id}", which is none.`);
  return digits;
}

/** The builder prints each instruction as it received it. */
function withImageNames(line: string, { lines }: Printed): string {
  const [, head, step] = /^(Step (\d+)\/\d+ : )(?:FROM|COPY) /.exec(line) ?? [];
  const given = lines[Number(step) - 1];
  return given === undefined ? line : `${head}${given}`;
}

/** On the network of the payload's jobs, with a bound on processes. */
function inBounds<T>(
  { docker, removals, networks, installation, owner, policy, maxResources, maxSeconds, userId }: BuildContext,
  { network, pids = BUILD_PIDS }: Built,
  run: (network: string, cgroupParent: string | undefined) => Promise<T>,
): Promise<T> {
  const problem = networkProblem(network, policy);
  if (problem !== undefined) throw new EngineError('INVALID', problem);
  const most = Math.min(pids, maxResources?.pids ?? CONTAINER_RESOURCES_MAX.pids);
  const bounds = { docker, removals, installation, owner, policy, pids: most, seconds: maxSeconds };
  return withBoundProcesses(bounds, (cgroupParent) =>
    networkFor(network, policy) === 'NONE'
      ? run('none', cgroupParent)
      : networks.hold(userId, async () => run(await networks.ensure(userId, { anew: true }), cgroupParent)),
  );
}

/**
 * Hides the steps of our own labels: they contain the installation's id. The other steps are
 * numbered as if ours did not exist. A step may print lines that look like the builder's, so every
 * line that sets our labels is hidden, whatever its number. Among the others, only the next number
 * counts as a step.
 */
function withoutOurLabels(ours: number, print: (line: string) => Promise<void> | undefined) {
  let step = 0;
  let hidden = 0;
  let hiding = false;
  return (line: string) => {
    const [, number, of, text = ''] = /^Step (\d+)\/(\d+) : (.*)$/.exec(line) ?? [];
    const isNext = Number(number) === step + 1;
    const isOurs = text.startsWith(`LABEL ${LABEL_PREFIX}`);
    if (isNext) step += 1;
    if (isNext && isOurs) hidden += 1;
    if (isOurs) hiding = true;
    else if (!OF_STEP.test(line)) hiding = false;
    if (hiding) return undefined;
    return print(isNext ? `Step ${step - hidden}/${Number(of) - ours} : ${text}` : line);
  };
}

/** What the builder prints for a step that sets labels. */
const OF_STEP = /^ ---> |^Removing intermediate container /;

function withOriginalLine(error: EngineError, { originalLine }: Printed): EngineError {
  const message = error.message.replace(/\bline (\d+)/i, (_, line) => `line ${originalLine(Number(line))}`);
  return new EngineError(error.kind, message, { words: error.words, cause: error.cause });
}

/** The steps of a build compile and unpack, which takes more than most jobs do. */
const BUILD_CPUS = 1;
const BUILD_MEMORY_MB = 2_048;
const BUILD_PIDS = 1_024;
