import type { ClaimedJob } from '../../../db/jobs/claim.ts';
import type { PlacedVolume } from '../../../db/volumes.ts';
import { EngineError } from '../../../platform/docker/errors.ts';
import type { Template } from '../builds/template.ts';
import type { Pass } from '../engine/other-engines.ts';
import { volumeName } from '../engine/volumes.ts';
import { volumeNeed, volumesGone } from './needs.ts';
import type { RunControl, RunParts } from './run-context.ts';

/** Nothing was created: the engine lacks the image or the volumes, and another one has them. */
export class RunsElsewhere extends Error {
  readonly pass: Pass;
  constructor(pass: Pass) {
    super('Another engine can run this job.');
    this.pass = pass;
  }
}

/** Those of its volumes that some engine has. */
export async function findVolumes(
  { docker, placesOfVolumes }: RunParts,
  { userId }: ClaimedJob,
  { volumes = [] }: Template,
): Promise<PlacedVolume[]> {
  const names = volumes.map(({ name }) => name);
  return placesOfVolumes({ userId, names, engineId: await docker.storeId() });
}

/** A job whose volumes are on another engine needs no image here. */
export async function refuseDistant(places: PlacedVolume[], control: RunControl): Promise<void> {
  const need = volumeNeed(places);
  if (need === undefined) return;
  const pass = await control.passFor(need);
  throw pass ? new RunsElsewhere(pass) : new EngineError('NOT_FOUND', volumesGone(need));
}

/**
 * Records the volumes before the engine makes them, because a user cannot delete a volume that has
 * no row. A job whose volumes are on another engine runs there or not at all.
 */
export async function placeVolumes(
  { docker, placeVolumes: place }: RunParts,
  { userId }: ClaimedJob,
  { volumes = [] }: Template,
  control: RunControl,
): Promise<void> {
  if (volumes.length === 0) return;
  const names = volumes.map(({ name }) => name);
  const { deleted, places } = await place({ userId, names, engineId: await docker.storeId() });
  if (deleted[0] !== undefined) throw volumeDeleted(deleted[0]);
  await refuseDistant(places, control);
}

/**
 * Records the volumes again when the engine has made them: when this worker lost the job meanwhile,
 * a user may have deleted the volumes before the engine made them anew.
 */
export async function noteVolumes(
  { docker, noteVolumeUse, installation }: RunParts,
  { userId }: ClaimedJob,
  { volumes = [] }: Template,
  containerId: string,
): Promise<void> {
  if (volumes.length === 0) return;
  const names = volumes.map(({ name }) => name);
  const deleted = await noteVolumeUse({ userId, names, engineId: await docker.storeId() });
  if (deleted[0] === undefined) return;
  await docker.removeContainer(containerId, { force: false });
  for (const name of deleted) await docker.removeVolume(volumeName({ installation, userId, name }));
  throw volumeDeleted(deleted[0]);
}

function volumeDeleted(name: string): EngineError {
  return new EngineError('NOT_FOUND', `The volume ${name} of this job was deleted.`);
}
