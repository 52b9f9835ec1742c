import type { Generation } from '../../../db/workflows/payloads.ts';
import { readDockerfile, triggersProblem } from '../../../domain/dockerfile/dockerfile.ts';
import { IMAGE_LABELS } from '../../../domain/dockerfile/pairs.ts';
import { type Printed, printDockerfile } from '../../../domain/dockerfile/print.ts';
import { isId } from '../../../domain/ids.ts';
import { BUILT_REGISTRY, registryOf } from '../../../domain/images/image-reference.ts';
import { CONTAINER_RESOURCES_MAX } from '../../../domain/limits.ts';
import { BUILDS_REFUSED, networkFor, networkProblem } from '../../../domain/payload/container-policy.ts';
import type { ResourceMaximums } from '../../../domain/payload/container-schema.ts';
import type { ContainerNetwork, ImageBuild, RegistryAuth } from '../../../domain/payload/payload.ts';
import { MB } from '../../../platform/docker/confinement.ts';
import type { Docker } from '../../../platform/docker/docker.ts';
import { EngineError, isEngineError } from '../../../platform/docker/errors.ts';
import type { UserNetworks } from '../engine/networks.ts';
import type { Removals } from '../engine/removals.ts';
import { type BuildPolicy, withBoundProcesses } from './bounds.ts';
import type { ImageRequest, ImageSource } from './image-source.ts';

// Not the labels of containers: a container has its image's labels too, and would pass for one of ours.
const LABEL_PREFIX = IMAGE_LABELS;
const INSTALLATION = `${LABEL_PREFIX}installation`;
const WORKFLOW = `${LABEL_PREFIX}workflow`;
const GENERATION = `${LABEL_PREFIX}generation`;

export const BUILT_PREFIX = `${BUILT_REGISTRY}/workflow/`;

/** The tag of what is built for a generation. Nobody can name it in a payload. */
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
 * Of every layer that a step makes: a build that is stopped while the engine writes one down leaves it where nobody is told of it. They are a
 * workflow's own, so that its generations find each other's layers and nobody finds another's. The label of built images takes away what the image
 * that they begin from may say in its place.
 */
function layerLabels(installation: string, { workflowId }: Generation): Record<string, string> {
  return { [INSTALLATION]: installation, [WORKFLOW]: workflowId, [GENERATION]: '' };
}

/** The workflow of which an image without a name is such a layer. */
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
  /** This process. */
  owner: string;
  policy: BuildPolicy;
  maxResources?: ResourceMaximums | undefined;
  /** How long it may take. */
  maxSeconds: number;
  /** Writes a line of our own; the caller waits for what it resolves with. */
  say: (line: string) => Promise<void> | undefined;
  /** The same for a line that the engine gives of the build: its steps print there, so that it does not count as ours. */
  output: (line: string) => Promise<void> | undefined;
}

/** Lines of a build that are kept: a step that prints without end does so until the time limit. */
const LINES_MAX = 100_000;

/** What is built, and what the payload says of its containers: it holds for the steps as well. */
export interface Built extends Generation {
  source: ImageBuild;
  network?: ContainerNetwork | undefined;
  /** Processes that the steps may have. */
  pids?: number | undefined;
  /** For the registry of the first image that it names: no other one is shown it. */
  auth?: RegistryAuth<never> | undefined;
}

/** Builds a generation's Dockerfile on the engine, and gives the image's id. */
export async function buildDockerfile(context: BuildContext, built: Built): Promise<string> {
  const { docker, images, installation, maxResources = CONTAINER_RESOURCES_MAX, say, output, signal } = context;
  const { source, auth, ...generation } = built;
  const { dockerfile, files = [] } = source;
  if (!context.policy.buildsAllowed) throw new EngineError('INVALID', BUILDS_REFUSED);
  const { dockerfile: judged, problems = [] } = readDockerfile(dockerfile);
  if (judged === undefined) throw new EngineError('INVALID', problems.join(' '));
  const registry = judged.images[0] === undefined ? undefined : registryOf(judged.images[0]);
  const ids = new Map<string, string>();
  for (const image of judged.images) {
    // Pulled here and not by the builder, so that what a registry says is told apart, and two pulls are one.
    const { id, onBuild } = await images.find(context, image, registryOf(image) === registry ? auth : undefined);
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
  const build = inBounds(context, built, (network, cgroupParent) =>
    docker.buildImage(
      { ...spec, network, cgroupParent },
      { onLine: (line) => print(withImageNames(line, printed)), signal },
    ),
  );
  return build.catch((error: unknown) => {
    throw isEngineError(error, 'INVALID') ? withOriginalLine(error, printed) : error;
  });
}

/** The builder takes these digits for an id alone: it asks no registry for an image of that name. */
function builderId(id = ''): string {
  const digits = /^sha256:([a-f0-9]{64})$/.exec(id)?.[1];
  if (digits === undefined) throw new Error(`The engine gave the image id "${id}", which is none.`);
  return digits;
}

/** The builder prints each instruction as it got it. */
function withImageNames(line: string, { lines }: Printed): string {
  const [, head, step] = /^(Step (\d+)\/\d+ : )(?:FROM|COPY) /.exec(line) ?? [];
  const given = lines[Number(step) - 1];
  return given === undefined ? line : `${head}${given}`;
}

/** On the network that jobs of the payload have, and with bound processes. */
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
 * The steps that label layers and the image are ours: with the installation's id in them, they are not for the author's log. The others are
 * numbered as if there were none. A step may print lines that look like the builder's, also those of later steps: so every line that labels as we
 * do is left out, whatever its number, and of the others only the next number is one.
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

/** What the builder prints of a step that labels. */
const OF_STEP = /^ ---> |^Removing intermediate container /;

function withOriginalLine(error: EngineError, { originalLine }: Printed): EngineError {
  const message = error.message.replace(/\bline (\d+)/i, (_, line) => `line ${originalLine(Number(line))}`);
  return new EngineError(error.kind, message);
}

/** A step of a build compiles or unpacks: more than most jobs take. */
const BUILD_CPUS = 1;
const BUILD_MEMORY_MB = 2_048;
const BUILD_PIDS = 1_024;
