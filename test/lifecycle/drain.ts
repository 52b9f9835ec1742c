import { sql } from 'drizzle-orm';
import { claimBuilds } from '../../db/builds/claim.ts';
import { endBuild } from '../../db/builds/finish.ts';
import { sweepBuilds } from '../../db/builds/sweep.ts';
import { claimJobs } from '../../db/jobs/claim.ts';
import { endJobs } from '../../db/jobs/finish.ts';
import { purgeSome } from '../../db/workflows/purge.ts';
import { schedule } from '../scheduling/support.ts';
import { letAllPass } from '../support/time.ts';
import type { World } from './world.ts';

const ROUNDS_MAX = 80;
/** Not a whole number of minutes: while the rows are moved, no slot may fall on an earlier one. */
const HOUR_SECONDS = 3_601;

/**
 * All lease holders disappear. From here on the workers work, every build and job succeeds, and
 * hours pass. Fails unless every job ends by what the scheduling worker dispatches. Resolves when
 * no work is left.
 */
export async function drain({ db }: Pick<World, 'db'>): Promise<void> {
  for (let round = 0; round < ROUNDS_MAX; round += 1) {
    await letAllPass(db, HOUR_SECONDS);
    const { queuedBuildIds } = await sweepBuilds(db, { watchedSeconds: () => Number.POSITIVE_INFINITY });
    for (const build of (await claimBuilds(db, [...queuedBuildIds], { owner: 'drain' })).claimed)
      await endBuild(db, { ...build, logLineCount: 0, status: 'COMPLETED', imageId: 'sha256:2' });

    for (let ids = await schedule(db); ids.length > 0; ids = await schedule(db)) {
      const { claimed } = await claimJobs(db, ids, { owner: 'drain' });
      await endJobs(
        db,
        claimed.map((job) => ({ ...job, status: 'COMPLETED' as const, logLineCount: 0 })),
      );
    }
    const [left] = await db.execute<{ count: number }>(sql`
      SELECT ((SELECT count(*) FROM jobs WHERE completed_at IS NULL) + (SELECT count(*) FROM run_requests)
        + (SELECT count(*) FROM builds WHERE completed_at IS NULL)
        + (SELECT count(*) FROM schedules WHERE state = 'TERMINATED'))::integer AS count`);
    if (left?.count === 0) break;
    if (round + 1 === ROUNDS_MAX) throw new Error(`After ${ROUNDS_MAX} rounds ${left?.count} things still wait.`);
  }
  for (let more = true; more; ) more = await purgeSome(db);
  const purging = await db.execute(sql`SELECT id FROM workflows WHERE purge_requested_at IS NOT NULL`);
  if (purging.length > 0) throw new Error(`${purging.length} workflows are not purged.`);
}
