import type { IncomingMessage } from 'node:http';
import { type Docker, logBroken } from '../../../platform/docker/docker.ts';

/**
 * A silent log is normal, but a network may drop a connection without notice. After this long
 * without bytes, the container's state is asked for.
 */
const QUIET_MS = 30_000;

/**
 * What the engine gives of a container's output, until the engine ends it. When a broken connection
 * hides the end, the state of the container shows it. Rejects with an EngineError.
 */
export async function* partsOf(
  docker: Docker,
  containerId: string,
  stream: IncomingMessage,
  onContact: () => void,
): AsyncGenerator<Buffer, void, undefined> {
  let waits = false; // for bytes, not for the reader
  let isQuiet = false;
  let isOver = false;

  async function look(): Promise<void> {
    const state = await docker.inspectContainer(containerId);
    if (!waits) return;
    isOver = state?.status !== 'running';
    if (isOver) stream.destroy();
    else onContact();
  }
  const timer = setInterval(() => {
    if (waits && isQuiet) look().catch((error: Error) => stream.destroy(error));
    isQuiet = true;
  }, QUIET_MS);

  const parts = stream[Symbol.asyncIterator]();
  try {
    for (;;) {
      waits = true;
      const { done, value } = await parts.next();
      waits = false;
      isQuiet = false;
      if (done) return;
      onContact();
      yield value;
    }
  } catch (error) {
    if (!isOver) throw logBroken(docker, error);
  } finally {
    clearInterval(timer);
    stream.destroy();
  }
}
