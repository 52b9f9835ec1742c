import type { PlacedVolume } from '../../../db/volumes.ts';
import type { KnownEngine } from '../../../db/workers.ts';
import { ENGINE_AWAY_SECONDS } from '../../../domain/limits.ts';
import { type VolumePlace, volumePlace } from '../engine/volume-places.ts';

/** What a job needs and the engine of this worker does not have. */
export type Need =
  /** The data of its volumes, which is on these engines alone. */
  | { what: 'VOLUME'; volumes: string[]; engines: string[] }
  /**
   * An image that was made on an engine by hand: nobody can pull or build it. `home` is the engine
   * of its build, where that is known.
   */
  | { what: 'LOCAL_IMAGE'; image: string; home: string | undefined; volumes: VolumePlace }
  /** An image that this engine may pull or build, and its home has already. */
  | { what: 'IMAGE'; home: string; volumes: VolumePlace };

/** Undefined if this engine has all of these volumes that any engine has. */
export function volumeNeed(places: PlacedVolume[]): Extract<Need, { what: 'VOLUME' }> | undefined {
  const distant = places.filter(({ isDistant }) => isDistant);
  if (distant.length === 0) return undefined;
  const { engines = [], names } = volumePlace(places);
  return { what: 'VOLUME', volumes: engines.length === 0 ? names : distant.map(({ name }) => name), engines };
}

/**
 * Whether a job should wait for this engine. An engine that is away comes back, and only it has
 * what was made there. An image that this engine can get too is worth no such wait.
 */
export function mayHave({ id, isLive }: KnownEngine, need: Need): boolean {
  if (need.what === 'VOLUME') return need.engines.includes(id);
  if (need.volumes.engines?.includes(id) === false) return false;
  switch (need.what) {
    case 'LOCAL_IMAGE':
      return isLive || need.home === undefined || need.home === id;
    case 'IMAGE':
      return isLive && need.home === id;
  }
}

/** The engines that have it, where that is known. */
export function enginesWith(need: Need): string[] {
  if (need.what === 'VOLUME') return need.engines;
  if (need.what === 'IMAGE' || need.home === undefined) return [];
  return need.volumes.engines?.includes(need.home) === false ? [] : [need.home];
}

/** What a waiting job says while no worker reaches an engine that may have what it needs. */
export function waitingFor(need: Need): string | undefined {
  if (need.what === 'IMAGE') return undefined;
  const what = need.what === 'VOLUME' ? `the data of ${theVolumes(need.volumes)}` : `the image ${need.image}`;
  return `It waits for the Docker engine that has ${what}: no workflow worker reaches that engine now.`;
}

/** Why a job fails that no known engine can run. */
export function volumesGone({ volumes, engines }: Extract<Need, { what: 'VOLUME' }>): string {
  const what = `The data of ${theVolumes(volumes)}`;
  if (engines.length === 0) return `${what} is on different Docker engines, so no engine can run this job.`;
  return `${what} is on another Docker engine, which no workflow worker has reached for ${ENGINE_AWAY_SECONDS / 60} minutes. If that engine is gone for good, the operator can say so, and the job gets an empty volume.`;
}

/**
 * Why a job fails whose image is on one engine and whose volumes are on another. Undefined if that
 * is not why.
 */
export function apart(image: string, home: string | undefined, { names, engines }: VolumePlace): string | undefined {
  if (home === undefined || engines === undefined || engines.includes(home)) return undefined;
  return `The build found the image ${image} on one Docker engine, and the data of ${theVolumes(names)} is on another: no engine can run this job. Have the image loaded on the engine of the volume too, or give it to a registry, and call rebuildWorkflow; or name another volume.`;
}

function theVolumes(names: string[]): string {
  return names.length === 1 ? `the volume ${names[0]}` : `the volumes ${names.join(', ')}`;
}
