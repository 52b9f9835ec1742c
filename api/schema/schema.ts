import type { GraphQLSchema } from 'graphql';
import './scalars.ts';
import './node.ts';
import './user.ts';
import './sign-up.ts';
import './sign-in.ts';
import './session.ts';
import './change-password.ts';
import './token.ts';
import './workflow.ts';
import './workflow-changes.ts';
import './workflow-end.ts';
import './volume.ts';
import './build.ts';
import './job.ts';
import './job-actions.ts';
import './job-live.ts';
import './log.ts';
import './analytics.ts';
import './audit-event.ts';
import './notification.ts';
import './notification-actions.ts';
import './system.ts';
import { builder } from './builder.ts';

/** Each file above adds its part. `schema.graphql` is the print of this. */
export const schema: GraphQLSchema = builder.toSchema();
