import { builder } from './builder.ts';
import { ContainerInput } from './container-payload.ts';
import { HeartbeatInput } from './heartbeat-payload.ts';

export const WorkflowPayloadInput = builder.inputType('WorkflowPayloadInput', {
  description: 'What a workflow runs: exactly one of these.',
  isOneOf: true,
  fields: (t) => ({
    heartbeat: t.field({ type: HeartbeatInput, description: 'A HEARTBEAT.' }),
    container: t.field({ type: ContainerInput, description: 'A CONTAINER.' }),
    json: t.string({ description: 'The document as `Workflow.payload` gives it, with its "kind".' }),
  }),
});
