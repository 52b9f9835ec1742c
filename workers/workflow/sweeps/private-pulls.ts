import { endedPrivatePulls, settlePrivatePull } from '../../../db/builds/images.ts';
import type { Db } from '../../../db/client.ts';
import type { Docker } from '../../../platform/docker/docker.ts';
import { eachAlone } from '../engine/each.ts';

const PULLS_MAX = 100;

/**
 * Decides the pulls with a login whose end nobody saw, because the build or job was canceled or its
 * worker crashed. The image that the name means now is private, unless the name meant it before the
 * pull.
 */
export async function sweepPrivatePulls({ db, docker }: { db: Db; docker: Docker }): Promise<void> {
  await eachAlone(await endedPrivatePulls(db, await docker.engineId(), PULLS_MAX), async (pull) => {
    const now = await docker.findNamedImage(pull.image);
    await settlePrivatePull(db, pull, now?.id);
  });
}
