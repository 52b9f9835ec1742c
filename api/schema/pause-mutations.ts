import { type PauseChanged, pauseWorkflow, resumeWorkflow } from '../../db/workflows/pause.ts';
import { isId } from '../../domain/ids.ts';
import { PAUSE_NOTE_LENGTH_MAX } from '../../domain/limits.ts';
import { characterCount, textProblem } from '../../domain/text.ts';
import { publishEffects } from '../../platform/publish.ts';
import type { Services } from '../context.ts';
import { mutation } from './mutation.ts';
import { invalid, notFound, refused } from './user-error.ts';
import { Workflow } from './workflow.ts';

mutation('pauseWorkflow', 'WRITE', {
  description:
    'Pauses a workflow: it makes no slots until it is resumed. A job that is active goes on, and `runWorkflow` works. Pausing a paused workflow changes the end of the pause and its note.',
  input: (t) => ({
    id: t.id({ required: true, description: 'The id of the workflow.' }),
    until: t.field({ type: 'DateTime', description: 'When the pause ends by itself. Left out, it does not.' }),
    note: t.string({
      description: `Why, for those who look at the workflow: 1 to ${PAUSE_NOTE_LENGTH_MAX} characters.`,
    }),
  }),
  payload: { workflow: { type: Workflow, description: 'The paused workflow.' } },
  resolve: async ({ input, viewer: { user }, context: { services }, change }) => {
    const problem = noteProblem(input.note);
    if (problem !== undefined) return invalid([{ path: ['note'], message: problem }]);
    if (!isId(input.id)) return notFound('workflow');
    const key = { userId: user.id, id: input.id.toLowerCase() };
    const { until, note } = input;
    const paused = await change(
      (tx) => pauseWorkflow(tx, { ...key, until: until ?? null, note: note ?? null }),
      changedId,
    );
    return answer(services, paused);
  },
});

mutation('resumeWorkflow', 'WRITE', {
  description:
    'Ends the pause of a workflow: it goes on with its first slot after now, and the slots of the pause never run. If it was paused because too many jobs failed, its count of failures begins anew. Resuming a workflow that is not paused changes nothing.',
  input: (t) => ({ id: t.id({ required: true, description: 'The id of the workflow.' }) }),
  payload: { workflow: { type: Workflow, description: 'The resumed workflow.' } },
  resolve: async ({ input, viewer: { user }, context: { services }, change }) => {
    if (!isId(input.id)) return notFound('workflow');
    const key = { userId: user.id, id: input.id.toLowerCase() };
    return answer(services, await change((tx) => resumeWorkflow(tx, key), changedId));
  },
});

function noteProblem(note: string | null | undefined): string | undefined {
  if (note === null || note === undefined) return undefined;
  const problem = textProblem(note);
  if (problem) return `The note ${problem}.`;
  const count = characterCount(note);
  if (count >= 1 && count <= PAUSE_NOTE_LENGTH_MAX) return undefined;
  return `The note must have 1 to ${PAUSE_NOTE_LENGTH_MAX} characters, not ${count}.`;
}

function changedId(changed: PauseChanged): string | undefined {
  return changed.outcome === 'CHANGED' ? changed.workflow.id : undefined;
}

function answer(services: Services, changed: PauseChanged) {
  switch (changed.outcome) {
    case 'CHANGED':
      void publishEffects(services, changed.effects); // the caller does not wait for the broker
      return { workflow: changed.workflow };
    case 'NOT_FOUND':
      return notFound('workflow');
    case 'TERMINATED':
      return refused({
        code: 'TERMINATED',
        message: 'The workflow is terminated and does not run any more.',
        path: ['id'],
      });
    case 'UNTIL_PASSED':
      return invalid([
        { path: ['until'], message: `It must be later than now, ${changed.now} by the clock of the database.` },
      ]);
  }
}
