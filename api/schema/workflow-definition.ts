import type { Payload } from '../../domain/payload/payload.ts';
import { builder } from './builder.ts';
import { ContainerDefinition } from './container-payload.ts';
import { HeartbeatDefinition } from './heartbeat-payload.ts';

export const WorkflowDefinition = builder.unionType('WorkflowDefinition', {
  description: "The payload of a workflow in types. The workflow's kind decides which one.",
  types: [HeartbeatDefinition, ContainerDefinition],
  resolveType: (payload: Payload) => (payload.kind === 'HEARTBEAT' ? HeartbeatDefinition : ContainerDefinition),
});
