import { createEngine } from '../../platform/docker/engine.ts';
import { tarOf } from '../../platform/docker/tar.ts';

/** For the script of a container that waits, however long the test takes, until `letGo`. */
export const UNTIL_LET_GO = 'until [ -e /go ]; do sleep 0.05; done';

/** Prints numbers, 200 a second, until `letGo`, and how many: see `printed`. */
export const UNTIL_LET_GO_PRINT = `i=0
until [ -e /go ]; do i=$((i+1)); echo $i; [ $((i % 20)) = 0 ] && sleep 0.1; done
echo "end $i"`;

/** All that it has printed when there are that many lines. */
export function printed(lineCount: number): string[] {
  return [...Array.from({ length: lineCount - 1 }, (_, n) => String(n + 1)), `end ${lineCount - 1}`];
}

/** What `letGo` puts into the root folder of a container. */
export const GO = await tarOf([{ path: 'go', content: '' }]);

/** Lets the script of a created container go on. */
export async function letGo(dockerHost: string | undefined, containerId: string): Promise<void> {
  const path = `/containers/${containerId}/archive`;
  await createEngine({ host: dockerHost }).call({ method: 'PUT', path, query: { path: '/' }, archive: GO });
}
