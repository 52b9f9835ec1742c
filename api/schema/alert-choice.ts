import { isId } from '../../domain/ids.ts';
import { ALERT_CHANNELS_PER_WORKFLOW_MAX } from '../../domain/limits.ts';
import type { UserErrorShape } from './user-error.ts';

type Choice = { ids: string[] | null | undefined; userErrors?: undefined } | { userErrors: UserErrorShape[] };

/** The channels that an input chooses for a workflow. Whether they exist is not known yet. */
export function choiceOfChannels(given: readonly string[] | null | undefined): Choice {
  if (given === null || given === undefined) return { ids: given };
  if (given.length > ALERT_CHANNELS_PER_WORKFLOW_MAX) {
    const message = `A workflow may have ${ALERT_CHANNELS_PER_WORKFLOW_MAX} alert channels of its own, not ${given.length}.`;
    return { userErrors: [{ code: 'LIMIT_EXCEEDED', message, path: ['alertChannels'] }] };
  }
  const ids = given.map((id) => id.toLowerCase());
  const repeated = ids.flatMap((id, index) => (ids.indexOf(id) < index ? [index] : []));
  if (repeated.length > 0) return { userErrors: at(repeated, 'INVALID', 'Name each alert channel once.') };
  const malformed = ids.flatMap((id, index) => (isId(id) ? [] : [index]));
  return malformed.length > 0 ? { userErrors: unknownChannels(malformed) } : { ids };
}

/** The problems of a choice that names unknown channels at these places. */
export function unknownChannels(indices: number[]): UserErrorShape[] {
  return at(indices, 'NOT_FOUND', 'You have no alert channel with this id.');
}

function at(indices: number[], code: UserErrorShape['code'], message: string): UserErrorShape[] {
  return indices.map((index) => ({ code, message, path: ['alertChannels', String(index)] }));
}
