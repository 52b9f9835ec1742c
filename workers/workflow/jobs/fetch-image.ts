import type { ClaimedJob } from '../../../db/jobs/claim.ts';
import { BUILDS_REFUSED } from '../../../domain/payload/container-policy.ts';
import { EngineError } from '../../../platform/docker/errors.ts';
import { BUILD_SECONDS_MAX } from '../builds/build.ts';
import { buildDockerfile } from '../builds/built-image.ts';
import { type ImageRequest, imageGone, neverPulled } from '../builds/image-source.ts';
import type { Template } from '../builds/template.ts';
import type { RunParts } from './run-context.ts';

/**
 * Gets a generation's image onto an engine that lacks it, because another engine ran the build or
 * somebody removed the image. A pull by digest gives the same image, whatever the tag means now. A
 * built image is built again from the same Dockerfile. An image without a digest never came from a
 * registry, so no registry is asked for it: it is gone. Resolves with the image's id on this
 * engine.
 */
export async function fetchImage(
  parts: RunParts,
  job: ClaimedJob,
  { image, isBuilt, imageId, imageDigest, registry_auth: auth, network, resources, pull_policy: pullPolicy }: Template,
  request: ImageRequest,
): Promise<string> {
  const { images, templates, maxBuildSeconds = BUILD_SECONDS_MAX } = parts;
  if (!isBuilt && imageDigest === undefined) throw imageGone(image, imageId);
  const name = imageDigest ?? image;
  const here = await images.held(name);
  if (here !== undefined) return here.id;
  if (isBuilt) {
    const source = await templates.source(job);
    if (source === undefined) throw new EngineError('NOT_FOUND', 'What this job is built from is not stored any more.');
    const { workflowId, generation } = job;
    const built = { workflowId, generation, source, network, pids: resources?.pids, auth, pullPolicy };
    // A build that the operator has since forbidden does not count against the workflow.
    if (!parts.policy.buildsAllowed) throw new EngineError('NOT_FOUND', BUILDS_REFUSED);
    const silent = { say: () => undefined, output: () => undefined };
    return buildDockerfile({ ...parts, ...request, ...silent, maxSeconds: maxBuildSeconds }, built);
  }
  if (pullPolicy === 'NEVER') throw neverPulled(image);
  return (await images.pull(request, name, auth)).id;
}
