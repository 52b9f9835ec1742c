import { type MuteChanged, muteWorkflow, unmuteWorkflow } from '../../db/workflows/mute.ts';
import { isId } from '../../domain/ids.ts';
import { MUTE_DAYS_MAX } from '../../domain/limits.ts';
import { publishEffects } from '../../platform/publish.ts';
import type { Services } from '../context.ts';
import { mutation } from './mutation.ts';
import { invalid, notFound, refused } from './user-error.ts';
import { Workflow } from './workflow.ts';

mutation('muteWorkflow', 'WRITE', {
  description:
    'Mutes a workflow: it goes on, and its alerts are SUPPRESSED. An incident that begins meanwhile and is open at the end is reported then. Muting a muted workflow changes the end.',
  input: (t) => ({
    id: t.id({ required: true, description: 'The id of the workflow.' }),
    until: t.field({
      type: 'DateTime',
      required: true,
      description: `When the mute ends: within ${MUTE_DAYS_MAX} days.`,
    }),
  }),
  payload: { workflow: { type: Workflow, description: 'The muted workflow.' } },
  resolve: async ({ input: { id, until }, viewer: { user }, context: { services }, change }) => {
    if (!isId(id)) return notFound('workflow');
    const key = { userId: user.id, id: id.toLowerCase() };
    return answer(services, await change((tx) => muteWorkflow(tx, { ...key, until }), changedId));
  },
});

mutation('unmuteWorkflow', 'WRITE', {
  description: 'Ends the mute of a workflow now. Unmuting one that is not muted changes nothing.',
  input: (t) => ({ id: t.id({ required: true, description: 'The id of the workflow.' }) }),
  payload: { workflow: { type: Workflow, description: 'The workflow, which is not muted any more.' } },
  resolve: async ({ input: { id }, viewer: { user }, context: { services }, change }) => {
    if (!isId(id)) return notFound('workflow');
    const key = { userId: user.id, id: id.toLowerCase() };
    return answer(services, await change((tx) => unmuteWorkflow(tx, key), changedId));
  },
});

function changedId(changed: MuteChanged): string | undefined {
  return changed.outcome === 'CHANGED' ? changed.workflow.id : undefined;
}

function answer(services: Services, changed: MuteChanged) {
  switch (changed.outcome) {
    case 'CHANGED':
      void publishEffects(services, changed.effects); // the caller does not wait for the broker
      return { workflow: changed.workflow };
    case 'NOT_FOUND':
      return notFound('workflow');
    case 'TERMINATED':
      return refused({
        code: 'TERMINATED',
        message: 'The workflow is terminated: there is nothing to mute.',
        path: ['id'],
      });
    case 'UNTIL_PASSED':
      return untilProblem(`It must be later than now, ${changed.now} by the clock of the database.`);
    case 'UNTIL_TOO_LATE':
      return untilProblem(`A mute lasts ${MUTE_DAYS_MAX} days at most: it must be ${changed.latest} or before.`);
  }
}

function untilProblem(message: string) {
  return invalid([{ path: ['until'], message }]);
}
