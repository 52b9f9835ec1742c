import { builder } from './builder.ts';
import { ContainerInput } from './container-payload.ts';
import { HeartbeatInput } from './heartbeat-payload.ts';

export const WorkflowPayloadInput = builder.inputType('WorkflowPayloadInput', {
  description: 'What a workflow runs. Give exactly one of these fields.',
  isOneOf: true,
  fields: (t) => ({
    heartbeat: t.field({ type: HeartbeatInput, description: 'A check, for a workflow of the kind HEARTBEAT.' }),
    container: t.field({ type: ContainerInput, description: 'A container, for a workflow of the kind CONTAINER.' }),
    json: t.string({ description: 'A JSON document in the format of `Workflow.payload`, with its "kind".' }),
  }),
});
