import type { PlacedVolume } from '../../../db/volumes.ts';

/**
 * Where the volumes of a job are. They are needed together: `engines` are those that have all of
 * them, undefined before their first use.
 */
export interface VolumePlace {
  names: string[];
  engines: string[] | undefined;
}

/** Volumes that no engine has are not among `places`: the engine of the first job makes them. */
export function volumePlace(places: PlacedVolume[]): VolumePlace {
  const [first, ...rest] = places.map(({ engines }) => engines);
  const engines = first?.filter((engine) => rest.every((others) => others.includes(engine)));
  return { names: places.map(({ name }) => name), engines };
}
