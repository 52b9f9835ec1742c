import type { ClaimedJob } from '../../db/leases.ts';
import { EngineError } from '../../platform/docker/errors.ts';
import { buildDockerfile } from './built-image.ts';
import type { RunParts } from './run.ts';
import type { Template } from './template.ts';

/**
 * Gets a generation's image onto an engine that has it not: the build ran on another one, or somebody removed it. By its digest it is the
 * same image whatever its tag stands for now. One that was built is built here again, from the same Dockerfile. Its id on this engine.
 */
export async function fetchImage(
  { docker, templates, logins, installation, maxResources }: RunParts,
  job: ClaimedJob,
  { image, isBuilt, imageId, imageDigest, registryAuth }: Template,
  signal: AbortSignal,
): Promise<string> {
  const name = imageDigest ?? image;
  if (isBuilt || imageDigest !== undefined) {
    const here = await docker.findNamedImage(name);
    if (here !== undefined) return here.id;
  }
  if (isBuilt) {
    const source = await templates.source(job);
    if (source === undefined) throw new EngineError('NOT_FOUND', 'What this job is built from is not stored any more.');
    const silent = { say: () => undefined, output: () => undefined };
    const context = { docker, logins, installation, maxResources, ...silent, signal };
    return buildDockerfile(context, job, source, registryAuth);
  }
  await docker.pullImage(name, { onProgress: () => undefined, signal, auth: registryAuth });
  const pulled = (await docker.findNamedImage(name))?.id;
  if (pulled !== undefined && (imageDigest !== undefined || pulled === imageId)) return pulled;
  throw new EngineError(
    'NOT_FOUND',
    `The image ${imageId} that was found for ${image} is not on the engine, and ${image} is another one now. Update the payload to build it again.`,
  );
}
