import { endedPrivatePulls, settlePrivatePull } from '../../../db/builds/images.ts';
import type { Db } from '../../../db/client.ts';
import type { Docker } from '../../../platform/docker/docker.ts';
import { eachAlone } from '../engine/each.ts';

const PULLS_MAX = 100;

/**
 * Settles the pulls with logins that nobody saw the end of: their build or job was cancelled, or its worker crashed. What the name stands for
 * on the engine now is private, unless it stood for it before the pull.
 */
export async function sweepPrivatePulls({ db, docker }: { db: Db; docker: Docker }): Promise<void> {
  await eachAlone(await endedPrivatePulls(db, await docker.engineId(), PULLS_MAX), async (pull) => {
    const now = await docker.findNamedImage(pull.image);
    await settlePrivatePull(db, pull, now?.id);
  });
}
