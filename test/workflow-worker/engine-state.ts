import { z } from 'zod';
import { createEngine, type Engine } from '../../platform/docker/engine.ts';
import { isEngineError } from '../../platform/docker/errors.ts';
import { letGo } from '../support/gate.ts';

const listed = z.array(z.object({ Id: z.string(), Command: z.string().optional(), State: z.string().optional() }));
const history = z.array(z.object({ CreatedBy: z.string() }));
const volumes = z.object({
  Volumes: z.array(z.object({ Name: z.string(), Labels: z.record(z.string(), z.string()).nullable() })).nullable(),
});

const listOf = async (engine: Engine, path: string) =>
  listed.parse(await engine.call({ method: 'GET', path, query: { all: true } }));

/**
 * Every container of a build step that contains `marker`. Other tests use the same engine at the
 * same time, so its full lists prove nothing.
 */
export async function stepsWith(host: string | undefined, marker: string) {
  const all = await listOf(createEngine({ host }), '/containers/json');
  const containers = all.filter(({ Command }) => Command?.includes(marker));
  const ended = containers.filter(({ State }) => State === 'exited');
  return { containers: containers.map(({ Id }) => Id), ended: ended.map(({ Id }) => Id) };
}

/** Lets the build steps that contain `marker` go on: see UNTIL_LET_GO. */
export async function letStepsGo(host: string | undefined, marker: string): Promise<void> {
  for (const step of (await stepsWith(host, marker)).containers) {
    try {
      await letGo(host, step);
    } catch (error) {
      // The step of an earlier attempt is being removed.
      if (!isEngineError(error, 'NOT_FOUND', 'CONFLICT')) throw error;
    }
  }
}

/** By image: the steps that made it, which never change. An engine may have hundreds of images. */
const histories = new Map<string, string>();

/** The same, and every image, including unnamed layers, made by such a step. */
export async function madeWith(host: string | undefined, marker: string) {
  const engine = createEngine({ host });
  const steps = await stepsWith(host, marker);
  const images: string[] = [];
  for (const { Id } of await listOf(engine, '/images/json')) {
    try {
      const known = histories.get(Id) ?? (await historyOf(engine, Id));
      histories.set(Id, known);
      if (known.includes(marker)) images.push(Id);
    } catch (error) {
      // It belonged to another test and is gone.
      if (!isEngineError(error, 'NOT_FOUND')) throw error;
    }
  }
  return { ...steps, images };
}

async function historyOf(engine: Engine, id: string): Promise<string> {
  const steps = history.parse(await engine.call({ method: 'GET', path: `/images/${id}/history` }));
  return steps.map(({ CreatedBy }) => CreatedBy).join('\n');
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
