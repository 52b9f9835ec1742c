import type { Docker, Platform } from '../../../platform/docker/docker.ts';
import { EngineError } from '../../../platform/docker/errors.ts';
import { holderOf } from './bounds.ts';

/**
 * Refuses an image whose programs the engine's host cannot run: its containers would end with the
 * exit code of a shell, or with the kernel's words.
 */
export async function checkPlatform(
  { docker, installation, owner }: { docker: Docker; installation: string; owner: string },
  image: string,
  platform: Platform | undefined,
  say: (line: string) => unknown,
): Promise<void> {
  if (platform === undefined) return;
  const own = await docker.platform();
  const isSameSystem = platform.os === own.os;
  if (isSameSystem && platform.architecture === own.architecture) return;
  const runs =
    isSameSystem && (await docker.runsPrograms(platform.architecture, await holderOf({ docker, installation, owner })));
  const sentence = `The image ${image} is for ${shown(platform)}, and the Docker engine runs on ${shown(own)}`;
  if (runs === false)
    throw new EngineError('INVALID', `${sentence}, which cannot run it. Name an image for ${shown(own)}.`);
  say(`${sentence}${runs ? ', which can run it' : ''}.`);
}

function shown({ os, architecture }: Platform): string {
  return `${os}/${architecture}`;
}
