import type { Logger } from 'pino';
import { newId } from '../../domain/ids.ts';
import type { Docker } from '../../platform/docker/docker.ts';
import { isEngineError } from '../../platform/docker/errors.ts';
import type { Settings } from '../../platform/settings/parse.ts';
import type { CommandContext } from '../context.ts';
import type { Shutdown } from '../shutdown.ts';
import { type Finding, fine, unknown, unsafe } from './finding.ts';
import { openProbe, type Probe, type Removal } from './probe.ts';
import { targetsOf } from './targets.ts';

/** Any of these works, because they contain the `nc` of busybox. */
const IMAGES = ['alpine:3', 'busybox:latest', 'alpine:latest'];

/**
 * Finds out what containers and builds may do on this engine. It tries this with containers like
 * those of users.
 */
export async function* engineFindings(
  docker: Docker,
  { settings, shutdown, log }: Pick<CommandContext, 'settings' | 'shutdown' | 'log'>,
): AsyncGenerator<Finding> {
  if (!(await docker.isUp())) {
    yield unknown(`No Docker engine answers at ${docker.address}: what containers reach was not tried.`);
    return;
  }
  yield await builds(docker, settings);
  if (!settings.containerPolicy.networks.includes('BRIDGE')) {
    yield fine('CONTAINER_NETWORKS has no BRIDGE: containers and builds reach nothing.');
    return;
  }
  const image = await imageFor(docker, settings.demoImage);
  if (image === undefined) {
    yield unknown(
      `None of the images ${[settings.demoImage, ...IMAGES].join(', ')} is on the engine: what containers reach was not tried. Pull one there, for example docker pull alpine:3.`,
    );
    return;
  }
  try {
    const removals = removeAtEnd(shutdown, log);
    const probe = await openProbe(docker, { image, id: newId() }, removals);
    yield* reach(probe, settings);
  } catch (error) {
    if (!isEngineError(error)) throw error;
    yield unknown(`What containers reach could not be tried: ${error.words}`);
  }
}

/** Removes what the probe made, in the opposite order: a network goes after its containers. */
function removeAtEnd(shutdown: Shutdown, log: Logger): (name: string, remove: Removal) => void {
  const made: { name: string; remove: Removal }[] = [];
  shutdown.add('runs', "the doctor's containers and networks", async (deadline) => {
    for (let last = made.pop(); last !== undefined && !deadline.aborted; last = made.pop()) {
      const { name, remove } = last;
      await remove().catch((error: unknown) => log.error({ err: error }, `${name} could not be removed.`));
    }
  });
  return (name, remove) => void made.push({ name, remove });
}

async function builds(docker: Docker, { containerPolicy, buildCgroupParent }: Settings): Promise<Finding> {
  if (!containerPolicy.buildsAllowed) return fine('BUILDS_ALLOWED is false: no step of a build runs on the engine.');
  if (buildCgroupParent !== undefined)
    return fine(`The steps of builds run below the cgroup ${buildCgroupParent}: its bounds hold for them.`);
  if (await docker.hasProcessGroups()) return fine('The processes of a build are bounded.');
  return unsafe(
    'This engine cannot bound the processes of a build: set BUILD_CGROUP_PARENT to a cgroup that bounds them, or BUILDS_ALLOWED=false.',
  );
}

async function imageFor(docker: Docker, demoImage: string): Promise<string | undefined> {
  for (const image of [demoImage, ...IMAGES]) if (await docker.findImage(image)) return image;
  return undefined;
}

async function* reach(probe: Probe, settings: Settings): AsyncGenerator<Finding> {
  const gateway = await probe.gateway();
  if (gateway === undefined) {
    yield fine('A container of a user has no way out of its network.');
    return;
  }
  const listener = await probe.listen();
  const targets = targetsOf(settings, gateway);
  const found = await probe.reach([...targets, listener]);
  const neighbour = await probe.reachFromAnother([listener]);
  yield neighbour.get(listener) === 'OPEN'
    ? unsafe(
        'A container of one user reaches one of another: the engine does not separate networks (does it run with --iptables=false?).',
      )
    : fine('A container of one user does not reach one of another.');
  yield found.get(listener) === 'OPEN'
    ? unsafe('Two containers of one user reach each other: the engine does not heed enable_icc=false.')
    : fine('Two containers of one user do not reach each other.');

  let isHostThere = false;
  for (const target of targets) {
    const { what, host, port } = target;
    const answer = found.get(target) ?? 'SILENT';
    if (host === gateway && answer !== 'SILENT') isHostThere = true;
    if (answer === 'OPEN')
      yield unsafe(`A container reaches ${what} (${host}, port ${port}). Keep it out by the rules in docs/operate.`);
    else if (what !== undefined) yield fine(`A container does not reach ${what} (${host}, port ${port}).`);
  }
  yield isHostThere
    ? unsafe(
        `A container reaches the host of the engine (${gateway}), and so what listens there on all addresses. Keep it out by the rules in docs/operate.`,
      )
    : fine(`A container does not reach the host of the engine (${gateway}).`);
}
