import type { Payload } from '../../domain/payload/payload.ts';
import { builder } from './builder.ts';
import { ContainerDefinition } from './container-payload.ts';
import { HeartbeatDefinition } from './heartbeat-payload.ts';

export const WorkflowDefinition = builder.unionType('WorkflowDefinition', {
  description: "What a workflow runs, in types: its payload. Which one follows from the workflow's kind.",
  types: [HeartbeatDefinition, ContainerDefinition],
  resolveType: (payload: Payload) => (payload.kind === 'HEARTBEAT' ? HeartbeatDefinition : ContainerDefinition),
});
