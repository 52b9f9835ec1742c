import type { Db } from '../../../db/client.ts';
import { type Turn, waitingOf } from '../../../db/jobs/turns.ts';
import { generationKey, loadPayloads } from '../../../db/payloads.ts';
import { placesOfVolumes } from '../../../db/volumes.ts';
import { registryOf } from '../../../domain/images/image-reference.ts';
import { DOCKER_HUB, type ImagePatterns, matchesImage } from '../../../domain/images/registry-allow.ts';
import { PASS_SECONDS, PREFER_SECONDS } from '../../../domain/limits.ts';
import type { Docker } from '../../../platform/docker/docker.ts';
import { createOtherEngines, type Pass } from '../engine/other-engines.ts';
import { volumePlace } from '../engine/volume-places.ts';

/**
 * Leaves a build to the workers of other engines when this engine does not have its image, and one
 * of them may: the operator lets users have images that were made by hand (LOCAL_IMAGES), or the
 * pull policy prefers what an engine has. Each engine looks once. The last one asks the registry,
 * if the policy lets it. An image that a registry has is worth no longer wait than a moment.
 *
 * An image that was made by hand runs only on the engine of its build. So where two engines have
 * one of that name, the build goes to the engine that has the volumes of the jobs.
 *
 *   engine A                          engine B, which has the volumes   what happens
 *   has the image                     has one of that name              A passes, B takes
 *   has the image                     has none                          A and B pass once, A takes
 *   has none                          has none                          both pass once, B takes
 */
export function createBuildPlacement({
  db,
  docker,
  localImages,
}: {
  db: Db;
  docker: Docker;
  localImages: ImagePatterns;
}): { passOf(turn: Turn, engineId: string): Promise<Pass | undefined> } {
  const engines = createOtherEngines(db);
  return {
    async passOf(turn, engineId) {
      const live = (await engines.beside(engineId, {}, { anew: true })).filter(({ isLive }) => isLive);
      if (live.length === 0) return undefined;
      const build = await waitingOf(db, 'BUILD', turn);
      const payload = build && (await loadPayloads(db, [build])).get(generationKey(build))?.payload;
      if (build === undefined || payload?.kind !== 'CONTAINER' || payload.image === undefined) return undefined;
      const { image, pull_policy: pullPolicy = 'ALWAYS', registry_auth: auth, volumes = [] } = payload;
      if (pullPolicy === 'ALWAYS' && (auth !== undefined || !matchesImage(localImages, image))) return undefined;
      const names = volumes.map(({ name }) => name);
      const { engines: homes } = volumePlace(await placesOfVolumes(db, { userId: build.userId, names, engineId }));
      const others = live.filter(({ id }) => !(id in turn.passedBy));
      const hasPassed = engineId in turn.passedBy;
      const found = await docker.findNamedImage(image);
      if (found !== undefined) {
        const isBound = found.digest === undefined || pullPolicy === 'NEVER';
        if (!isBound || hasPassed || homes === undefined || homes.includes(engineId)) return undefined;
        return others.some(({ id }) => homes.includes(id))
          ? { seconds: PREFER_SECONDS, waitsFor: undefined }
          : undefined;
      }
      const isMadeByHand = matchesImage(localImages, image) && registryOf(image) === DOCKER_HUB;
      const isBound = pullPolicy === 'NEVER' || isMadeByHand;
      if (others.length > 0 && isBound) return { seconds: PASS_SECONDS, waitsFor: undefined };
      // Another engine that has the image may have passed the build by for the volumes alone, and
      // looks again before this one does.
      if (others.length === 0 && (!isBound || homes?.includes(engineId) !== true)) return undefined;
      // This engine can pull it: the other one is full, or does not have it either.
      return hasPassed ? undefined : { seconds: isBound ? 2 * PREFER_SECONDS : PREFER_SECONDS, waitsFor: undefined };
    },
  };
}
