import type { Db } from '../../db/client.ts';
import { type JobState, jobStates, releaseJobs, takeOverJobs } from '../../db/leases.ts';
import { isId } from '../../domain/ids.ts';
import type { Docker } from '../../platform/docker/docker.ts';
import { hasEnded } from '../../platform/process-identity.ts';
import { boundsOf } from './build-bounds.ts';
import { type Attempt, attemptOf, installationLabels } from './container.ts';
import type { ContainerJobs } from './jobs.ts';

export interface Swept {
  adopted: number;
  removed: number;
}

/**
 * Looks at every container of this installation on the engine, once: those whose worker is lost are adopted, those of which no job wants
 * anything any more are removed. A worker is lost when its lease has expired, or when its process was on this machine and has ended,
 * so that whoever starts a crashed worker again does not wait for the lease.
 *
 * The order is what makes it safe: containers are listed first and jobs read afterwards. A container is created after its attempt was claimed,
 * so what is listed is of an attempt that the row has reached already: where the row stands at another attempt, or does not run, that
 * is later news, and the container is nobody's. Of two workers that sweep one engine, takeOverJobs lets one have a job.
 */
export async function sweepContainers({
  db,
  docker,
  jobs,
  owner,
  installation,
}: {
  db: Db;
  docker: Docker;
  jobs: ContainerJobs;
  owner: string;
  installation: string;
}): Promise<Swept> {
  const engineId = await docker.engineId();
  const listed = await docker.listContainers(installationLabels(installation));
  const others = listed.flatMap((container) => {
    const attempt = attemptOf(container);
    return attempt === undefined || jobs.holds(attempt) ? [] : [{ ...attempt, containerId: container.id }];
  });
  const holders = listed.flatMap((container) => {
    const bounds = boundsOf(container);
    return bounds === undefined ? [] : [{ ...bounds, containerId: container.id }];
  });
  const states = await jobStates(db, others.map(({ id }) => id).filter(isId));
  const endedOwners = await endedAmong([...states.values()]);
  const fates = others.map((other) => ({ ...other, fate: fateOf(other, states.get(other.id), endedOwners) }));

  const unwanted = fates.filter(({ fate }) => fate === 'REMOVE');
  const ended = await endedAmong(holders);
  const leftHolders = holders.filter(({ owner: whose, isOver }) => isOver || ended.includes(whose));
  const removed = [...unwanted, ...leftHolders];
  await Promise.all(removed.map(({ containerId }) => docker.removeContainer(containerId, { force: true })));

  const orphans = fates.filter((other) => other.fate === 'ADOPT' && !jobs.holds(other));
  const taken = await takeOverJobs(db, orphans, { owner, engineId, endedOwners });
  let adopted = 0;
  for (const job of taken) {
    const containerId = orphans.find(({ id }) => id === job.id)?.containerId;
    const container = containerId === undefined ? undefined : await docker.inspectContainer(containerId);
    if (container === undefined) {
      await releaseJobs(db, [job]); // gone meanwhile: the attempt is lost
      continue;
    }
    jobs.adopt(job, container);
    adopted += 1;
  }
  return { adopted, removed: removed.length };
}

async function endedAmong(states: { owner: string | null }[]): Promise<string[]> {
  const owners = new Set(states.flatMap(({ owner }) => owner ?? []));
  const ended = await Promise.all([...owners].map(async (owner) => ((await hasEnded(owner)) ? [owner] : [])));
  return ended.flat();
}

function fateOf(
  { attempt }: Attempt,
  state: JobState | undefined,
  endedOwners: string[],
): 'REMOVE' | 'ADOPT' | 'LEAVE' {
  if (state === undefined || state.status !== 'RUNNING' || state.attempt !== attempt) return 'REMOVE';
  return state.leaseExpired || (state.owner !== null && endedOwners.includes(state.owner)) ? 'ADOPT' : 'LEAVE';
}
