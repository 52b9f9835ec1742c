import type { Db } from '../../../db/client.ts';
import { takeOverJobs } from '../../../db/jobs/claim.ts';
import { type JobState, jobStates } from '../../../db/jobs/leases.ts';
import { isId } from '../../../domain/ids.ts';
import type { ListedContainer } from '../../../platform/docker/containers.ts';
import type { Docker } from '../../../platform/docker/docker.ts';
import { hasEnded } from '../../../platform/process-identity.ts';
import { boundsOf } from '../builds/bounds.ts';
import { installationLabels } from '../engine/labels.ts';
import type { Removals } from '../engine/removals.ts';
import { type Attempt, attemptOf } from '../jobs/container.ts';
import type { ContainerJobs } from '../jobs/jobs.ts';

export interface Swept {
  adopted: number;
  /** Containers whose removal began. */
  removed: number;
}

/**
 * Looks at every container of this installation on the engine once. Adopts containers whose worker
 * is lost, and removes those that no job needs. A worker is lost when its lease has expired, or
 * when its process was on this machine and has ended, so a restart after a crash does not wait for
 * the lease.
 *
 * The order makes this safe. Containers are listed first and jobs are read afterwards. A container
 * is created after its attempt was claimed for its engine, so the row has reached every listed
 * attempt. A row at another attempt, on another engine or not RUNNING is later news: nobody needs
 * the container any more. When two workers sweep one engine, takeOverJobs gives each job to one of
 * them.
 *
 * After the list, the engine tells its id anew, because another engine may have come up at its
 * address since the last check. Under the old id, nobody would need any container of the new
 * engine. A list from the old engine names containers that the new one does not have.
 *
 * Adoption comes first and asks the engine for nothing: a run begins with its lease and inspects
 * its container itself (jobs/prepare.ts). It does not wait for removals.
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

/**
 * Containers that hold the bounds of builds whose process has ended, or whose time is over by the
 * engine's clock.
 */
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
