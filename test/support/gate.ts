import { createEngine } from '../../platform/docker/engine.ts';
import { tarOf } from '../../platform/docker/tar.ts';

/** For the script of a container that waits, however long the test takes, until `letGo`. */
export const UNTIL_LET_GO = 'until [ -e /go ]; do sleep 0.05; done';

/** What `letGo` puts into the root folder of a container. */
export const GO = await tarOf([{ path: 'go', content: '' }]);

/** Lets the script of a created container go on. */
export async function letGo(dockerHost: string | undefined, containerId: string): Promise<void> {
  const path = `/containers/${containerId}/archive`;
  await createEngine({ host: dockerHost }).call({ method: 'PUT', path, query: { path: '/' }, archive: GO });
}
