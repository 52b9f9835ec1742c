import { rotatePingToken } from '../../db/pings/tokens.ts';
import { includesScope } from '../../domain/account/token-scope.ts';
import { isId } from '../../domain/ids.ts';
import { pingTokenPlace, UnreadableSecret } from '../../domain/payload/secret.ts';
import { publishEffects } from '../../platform/publish.ts';
import { newPingToken } from '../auth/ping-token.ts';
import { viewerOf } from '../context.ts';
import { builder } from './builder.ts';
import { cost, STATEMENT_COST } from './cost.ts';
import { mutation } from './mutation.ts';
import { notFound, refused } from './user-error.ts';
import { Workflow } from './workflow.ts';

builder.objectField(Workflow, 'pingUrl', (t) =>
  t.string({
    nullable: true,
    description:
      'Where a push heartbeat expects pings: a URL if the operator has set PUBLIC_URL, otherwise its path. A ping needs nothing else, so tokens need the scope WRITE to read it. Null for other tokens and other workflows.',
    extensions: cost({ base: STATEMENT_COST }),
    resolve: async ({ id, kind }, _, context) => {
      const { services, load } = context;
      if (kind !== 'HEARTBEAT' || !includesScope(viewerOf(context).scope, 'WRITE')) return null;
      const sealed = await load.pingToken(id);
      if (sealed === undefined) return null;
      try {
        const token = services.sealer.open(sealed, pingTokenPlace(id));
        return `${services.settings.publicUrl ?? ''}/ping/${token}`;
      } catch (error) {
        if (error instanceof UnreadableSecret) return null; // its key is lost
        throw error;
      }
    },
  }),
);

mutation('rotatePingToken', 'WRITE', {
  description: 'Gives a push heartbeat another `pingUrl`. The one before does not work any more.',
  input: (t) => ({ id: t.id({ required: true, description: 'The id of the workflow.' }) }),
  payload: { workflow: { type: Workflow, description: 'The workflow with its new `pingUrl`.' } },
  resolve: async ({ input, viewer: { user }, context: { services }, change }) => {
    if (!isId(input.id)) return notFound('workflow');
    const id = input.id.toLowerCase();
    const token = newPingToken(services.sealer, id);
    const rotated = await change(
      (tx) => rotatePingToken(tx, { userId: user.id, id, token }),
      (result) => (result.outcome === 'ROTATED' ? id : undefined),
    );
    switch (rotated.outcome) {
      case 'ROTATED':
        void publishEffects(services, rotated.effects); // the caller does not wait for the broker
        return { workflow: rotated.workflow };
      case 'NOT_FOUND':
        return notFound('workflow');
      case 'TERMINATED':
        return refused({ code: 'TERMINATED', message: 'The workflow is terminated: it takes no pings.', path: ['id'] });
      case 'NO_PUSH':
        return refused({
          code: 'CONFLICT',
          message: 'The workflow is no push heartbeat: give it a payload with `push`.',
          path: ['id'],
        });
    }
  },
});
