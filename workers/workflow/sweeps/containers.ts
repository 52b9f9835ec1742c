import type { Db } from '../../../db/client.ts';
import { type JobState, jobStates, takeOverJobs } from '../../../db/jobs/claim.ts';
import { isId } from '../../../domain/ids.ts';
import type { Docker, ListedContainer } from '../../../platform/docker/docker.ts';
import { hasEnded } from '../../../platform/process-identity.ts';
import { boundsOf } from '../builds/bounds.ts';
import { installationLabels } from '../engine/labels.ts';
import type { Removals } from '../engine/removals.ts';
import { type Attempt, attemptOf } from '../jobs/container.ts';
import type { ContainerJobs } from '../jobs/jobs.ts';

export interface Swept {
  adopted: number;
  /** Whose removal began. */
  removed: number;
}

/**
 * Looks at every container of this installation on the engine, once: those whose worker is lost are adopted, those of which no job wants
 * anything any more are removed. A worker is lost when its lease has expired, or when its process was on this machine and has ended,
 * so that a worker that is started again after a crash does not wait for the lease.
 *
 * The order is what makes it safe: containers are listed first and jobs read afterwards. A container is created after its attempt was claimed for
 * its engine, so what is listed is of an attempt that the row has reached already: where the row stands at another attempt, on another
 * engine, or does not run, that is later news, and the container is nobody's, for good. Of two workers that sweep one engine, takeOverJobs
 * lets one have a job.
 *
 * The engine says anew, after the list, which one it is: another one may have come up at its address in the time between two questions whether it is
 * up. By the id of the one before, everything that runs on the new one would be nobody's. A list of the one before names containers that the new
 * one does not have.
 *
 * Adoption comes first and asks the engine for nothing: a run begins with its lease, and looks at its container by itself (prepare.ts). Nor does
 * it wait for a removal.
 */
export async function sweepContainers({
  db,
  docker,
  jobs,
  removals,
  owner,
  installation,
}: {
  db: Db;
  docker: Docker;
  jobs: ContainerJobs;
  removals: Removals;
  owner: string;
  installation: string;
}): Promise<Swept> {
  const listed = await docker.listContainers(installationLabels(installation));
  const engineId = await docker.engineId({ anew: true });
  const others = listed.flatMap((container) => {
    const attempt = attemptOf(container);
    return attempt === undefined || jobs.holds(attempt) ? [] : [{ ...attempt, containerId: container.id }];
  });
  const states = await jobStates(db, others.map(({ id }) => id).filter(isId));
  const endedOwners = await endedAmong([...states.values()]);
  const fates = others.map((other) => ({
    ...other,
    fate: fateOf(other, states.get(other.id), { engineId, endedOwners }),
  }));

  const orphans = fates.filter((other) => other.fate === 'ADOPT' && !jobs.holds(other));
  const taken = await takeOverJobs(db, orphans, { owner, engineId, endedOwners });
  for (const job of taken) {
    const orphan = orphans.find(({ id }) => id === job.id);
    if (orphan !== undefined) jobs.adopt(job, orphan.containerId);
  }

  const begin = (unwanted: { containerId: string }[]) =>
    unwanted.filter(({ containerId }) => removals.remove(containerId)).length;
  const removed = begin(fates.filter(({ fate }) => fate === 'REMOVE'));
  return { adopted: taken.length, removed: removed + begin(await leftBounds(docker, listed)) };
}

/** Containers that hold the bounds of builds whose process has ended, or that must have ended by the engine's clock. */
async function leftBounds(docker: Docker, listed: ListedContainer[]): Promise<{ containerId: string }[]> {
  const holders = listed.flatMap((container) => {
    const bounds = boundsOf(container);
    return bounds === undefined ? [] : [{ ...bounds, containerId: container.id }];
  });
  if (holders.length === 0) return [];
  const endedBuilders = await endedAmong(holders);
  const offsetMs = await docker.clockOffsetMs();
  const now = Date.now() + offsetMs;
  return holders.filter(({ owner, until }) => until <= now || endedBuilders.includes(owner));
}

async function endedAmong(states: { owner: string | null }[]): Promise<string[]> {
  const owners = new Set(states.flatMap(({ owner }) => owner ?? []));
  const ended = await Promise.all([...owners].map(async (owner) => ((await hasEnded(owner)) ? [owner] : [])));
  return ended.flat();
}

function fateOf(
  { attempt }: Attempt,
  state: JobState | undefined,
  { engineId, endedOwners }: { engineId: string; endedOwners: string[] },
): 'REMOVE' | 'ADOPT' | 'LEAVE' {
  if (state === undefined || state.status !== 'RUNNING') return 'REMOVE';
  if (state.attempt !== attempt || state.engineId !== engineId) return 'REMOVE';
  return state.leaseExpired || (state.owner !== null && endedOwners.includes(state.owner)) ? 'ADOPT' : 'LEAVE';
}
