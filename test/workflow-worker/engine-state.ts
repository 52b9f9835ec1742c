import { z } from 'zod';
import { createEngine } from '../../platform/docker/engine.ts';
import { isEngineError } from '../../platform/docker/errors.ts';

const listed = z.array(z.object({ Id: z.string(), Command: z.string().optional(), State: z.string().optional() }));
const history = z.array(z.object({ CreatedBy: z.string() }));
const volumes = z.object({
  Volumes: z.array(z.object({ Name: z.string(), Labels: z.record(z.string(), z.string()).nullable() })).nullable(),
});

/**
 * Every container and image, including unnamed layers, made by a build step that contains `marker`.
 * Other tests use the same engine at the same time, so its full lists prove nothing.
 */
export async function madeWith(host: string | undefined, marker: string) {
  const engine = createEngine({ host });
  const list = async (path: string) => listed.parse(await engine.call({ method: 'GET', path, query: { all: true } }));
  const containers = (await list('/containers/json')).filter(({ Command }) => Command?.includes(marker));
  const images: string[] = [];
  for (const { Id } of await list('/images/json')) {
    try {
      const steps = history.parse(await engine.call({ method: 'GET', path: `/images/${Id}/history` }));
      if (steps.some(({ CreatedBy }) => CreatedBy.includes(marker))) images.push(Id);
    } catch (error) {
      // It belonged to another test and is gone.
      if (!isEngineError(error, 'NOT_FOUND')) throw error;
    }
  }
  const ended = containers.filter(({ State }) => State === 'exited');
  return { containers: containers.map(({ Id }) => Id), ended: ended.map(({ Id }) => Id), images };
}

/** Removes volumes as the operator's guide describes, and returns their names. */
export async function removeVolumes(host: string | undefined, installation: string, of: { userId?: string } = {}) {
  const engine = createEngine({ host });
  const label = [`chronoverse.installation=${installation}`];
  if (of.userId !== undefined) label.push(`chronoverse.user=${of.userId}`);
  const query = { filters: JSON.stringify({ label }) };
  const { Volumes } = volumes.parse(await engine.call({ method: 'GET', path: '/volumes', query }));
  for (const { Name } of Volumes ?? []) await engine.call({ method: 'DELETE', path: `/volumes/${Name}` });
  return (Volumes ?? []).map(({ Name, Labels }) => ({ name: Name, labels: Labels }));
}
