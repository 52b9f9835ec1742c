import { EngineError } from '../../../platform/docker/errors.ts';

/** The lines of the log when the engine goes away, and when it is back. */
export const ENGINE_IS_AWAY = 'No Docker engine answers: jobs and builds of CONTAINER workflows wait for one.';
export const ENGINE_IS_BACK = 'The Docker engine answers.';

/** Marks a line as one about an engine that is away, which the log shows once for an outage. */
export function engineAway(): EngineError {
  return new EngineError('UNREACHABLE', 'No Docker engine answers.', { isAway: true });
}
