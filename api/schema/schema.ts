import type { GraphQLSchema } from 'graphql';
import './scalars.ts';
import './node.ts';
import './account.ts';
import './session.ts';
import './token.ts';
import './workflow.ts';
import './workflow-list.ts';
import './workflow-mutations.ts';
import './schedule-preview.ts';
import './pause-mutations.ts';
import './build.ts';
import './build-mutations.ts';
import './job.ts';
import './job-list.ts';
import './job-mutations.ts';
import './log.ts';
import './volume.ts';
import './notification.ts';
import './analytics.ts';
import './audit-event.ts';
import './system.ts';
import './worker.ts';
import { countAnswerTexts } from './answer-texts.ts';
import { builder } from './builder.ts';
import { showOneState } from './one-state.ts';

/** Each file above adds its part. `schema.graphql` is the print of this. */
export const schema: GraphQLSchema = showOneState(countAnswerTexts(builder.toSchema()));
