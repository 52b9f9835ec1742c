import type { Db } from '../../../db/client.ts';
import { type PassedBy, type Turn, waitingOf } from '../../../db/jobs/turns.ts';
import { placesOfVolumes } from '../../../db/volumes.ts';
import type { KnownEngine } from '../../../db/workers.ts';
import { PASS_SECONDS, PREFER_SECONDS } from '../../../domain/limits.ts';
import { UnreadableSecret } from '../../../domain/payload/secret.ts';
import type { Docker } from '../../../platform/docker/docker.ts';
import type { Template, Templates } from '../builds/template.ts';
import { createOtherEngines, type Pass } from '../engine/other-engines.ts';
import { type VolumePlace, volumePlace } from '../engine/volume-places.ts';
import { enginesWith, mayHave, type Need, volumeNeed, waitingFor } from './needs.ts';

/**
 * Decides on which engine a job runs: on one that has its image and the data of its volumes.
 * Without another engine there is nothing to decide.
 *
 * A worker looks at a turn before it claims the job. So a job that it leaves to others stays QUEUED
 * and loses no attempt. The turn remembers which engines passed it by. When none is left that may
 * have what the job needs, the worker that looks last takes the job. It gets the image if it can;
 * otherwise the job ends with a sentence.
 *
 *   engine A                        engine B                      what happens
 *   has the image                   has not                       B passes, A takes
 *   has not, made by hand           has not                       A passes, B takes: it fails
 *   away, the image was made there  has not                       B passes every PASS_SECONDS
 *   full, has the image             can pull or build it          B passes once, then takes
 *   has the image                   has the volume                A passes, B takes: it gets the
 *                                                                 image, or says they are apart
 *   comes up after B looked         has not, took the job         B returns it before its start
 *   not seen since a stop of all    has not                       B passes, for 15 minutes
 */
export interface JobPlacement {
  isAlone(engineId: string): Promise<boolean>;
  /** Undefined if the worker of this engine should take the turn. */
  passOf(turn: Turn, engineId: string): Promise<Pass | undefined>;
  /**
   * For a claimed job that this engine cannot run. Undefined if no other engine may run it either.
   * Asks the database anew.
   */
  passAfterClaim(engineId: string, passedBy: PassedBy, need: Need): Promise<Pass | undefined>;
  /** This engine could not get what the job needs: while another one may run it, that one does. */
  noteRefused(jobId: string): void;
}

const REFUSED_MAX = 1_000;

export function createJobPlacement({
  db,
  docker,
  templates,
}: {
  db: Db;
  docker: Docker;
  templates: Templates;
}): JobPlacement {
  const engines = createOtherEngines(db);
  /** Set when a job was left to an engine that is expected back. */
  let expectsAnother = false;
  const refused = new Set<string>();

  async function needOf(turn: Turn, engineId: string): Promise<Need | undefined> {
    const job = await waitingOf(db, 'CONTAINER', turn);
    const template = job && (await loadOrNothing(templates, job));
    // Its claim says what is wrong.
    if (job === undefined || template === undefined) return undefined;
    const names = (template.volumes ?? []).map(({ name }) => name);
    const places = await placesOfVolumes(db, { userId: job.userId, names, engineId });
    const need = volumeNeed(places);
    if (need !== undefined) return need;
    return (await isHere(docker, template)) ? undefined : imageNeed(template, engineId, volumePlace(places));
  }

  return {
    isAlone: async (engineId) => !expectsAnother && (await engines.beside(engineId)).length === 0,

    async passOf(turn, engineId) {
      const need = await needOf(turn, engineId);
      if (need === undefined) return undefined;
      const isPreference = need.what === 'IMAGE' && !refused.has(turn.id);
      if (isPreference && engineId in turn.passedBy) return undefined;
      const beside = await engines.beside(engineId, passersOf(turn.passedBy, need), { named: enginesWith(need) });
      return passTo(beside, need, isPreference ? PREFER_SECONDS : PASS_SECONDS);
    },

    async passAfterClaim(engineId, passedBy, need) {
      const passers = passersOf(passedBy, need);
      const beside = await engines.beside(engineId, passers, { anew: true, named: enginesWith(need) });
      const pass = passTo(beside, need, PASS_SECONDS);
      if (pass !== undefined) expectsAnother = true;
      return pass;
    },

    noteRefused(jobId) {
      if (refused.size >= REFUSED_MAX) refused.clear(); // those are tried once more
      refused.add(jobId);
    },
  };
}

/** Leaves what needs this to those of the engines that may have it. Undefined if none may. */
function passTo(engines: KnownEngine[], need: Need, seconds: number): Pass | undefined {
  const others = engines.filter((engine) => mayHave(engine, need));
  if (others.length === 0) return undefined;
  return { seconds, waitsFor: others.some(({ isLive }) => isLive) ? undefined : waitingFor(need) };
}

/**
 * The engines that need not be waited for. One that has the volumes left the job for its image, if
 * at all, and takes it all the same when it looks again.
 */
function passersOf(passedBy: PassedBy, need: Need): PassedBy {
  return need.what === 'VOLUME' ? {} : passedBy;
}

/** Undefined if this engine has to get the image anyway. */
export function imageNeed(template: Template, engineId: string, volumes: VolumePlace): Need | undefined {
  const { image, isBuilt, imageDigest, engineId: home } = template;
  if (!isBuilt && imageDigest === undefined) return { what: 'LOCAL_IMAGE', image, home, volumes };
  return home === undefined || home === engineId ? undefined : { what: 'IMAGE', home, volumes };
}

/** Engines may give the same built or pulled image different ids. */
async function isHere(docker: Docker, { image, isBuilt, imageId, imageDigest }: Template): Promise<boolean> {
  if ((await docker.lookAt(imageId)) !== undefined) return true;
  if (!isBuilt && imageDigest === undefined) return false;
  return (await docker.findNamedImage(imageDigest ?? image)) !== undefined;
}

async function loadOrNothing(
  templates: Templates,
  generation: { workflowId: string; generation: number },
): Promise<Template | undefined> {
  try {
    return await templates.load(generation);
  } catch (error) {
    if (error instanceof UnreadableSecret) return undefined;
    throw error;
  }
}
