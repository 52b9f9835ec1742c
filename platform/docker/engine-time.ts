import { z } from 'zod';
import type { Engine } from './engine.ts';

/** What the engine's clock says now. It dates containers and images, and is not compared with the clock of another machine. */
export async function engineTime(engine: Engine): Promise<Date> {
  return new Date(clock.parse(await engine.call({ method: 'GET', path: '/info' })).SystemTime);
}

const clock = z.object({ SystemTime: z.string() });
