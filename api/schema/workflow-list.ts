import {
  countWorkflows,
  type ListedWorkflow,
  listWorkflows,
  WORKFLOW_KEYS,
  type WorkflowOrder,
} from '../../db/listing/workflows.ts';
import type { WorkflowRow } from '../../db/schema.ts';
import { COUNTED_MAX } from '../../domain/limits.ts';
import { textProblem } from '../../domain/text.ts';
import { type Context, viewerOf } from '../context.ts';
import { failure } from '../errors.ts';
import { orderedCursorOf, orderedWindowOf } from '../ordering.ts';
import { type CountedPage, counted, PAGE_SIZE, type PagingArgs, pageOf } from '../paging.ts';
import { User } from './account.ts';
import { builder } from './builder.ts';
import { countedConnectionOf, pagingArgs } from './connection.ts';
import { cost, SEARCH_COST, STATEMENT_COST } from './cost.ts';
import { BuildStatusEnum, WorkflowKindEnum } from './enums.ts';
import { orderOf } from './order.ts';
import { Workflow } from './workflow.ts';

const WorkflowConnection = countedConnectionOf<WorkflowRow>(
  Workflow,
  'Workflow',
  'newest first unless `orderBy` says otherwise',
);

const WorkflowFilter = builder.inputType('WorkflowFilter', {
  description: 'Selects workflows that meet all of the given conditions.',
  fields: (t) => ({
    kind: t.field({ type: WorkflowKindEnum, description: 'Workflows of this kind.' }),
    buildStatus: t.field({ type: BuildStatusEnum, description: 'Workflows whose newest build has this status.' }),
    terminated: t.boolean({ description: 'Workflows that are terminated (true) or are not (false).' }),
    deleted: t.boolean({ description: 'Workflows that are deleted (true) or are not (false). Defaults to false.' }),
    nameContains: t.string({ description: 'Workflows with this text in their name. Case makes no difference.' }),
    intervalMin: t.int({ description: 'Workflows with an interval of at least this many minutes.' }),
    intervalMax: t.int({ description: 'Workflows with an interval of at most this many minutes.' }),
  }),
});

const order = orderOf<WorkflowOrder>('Workflow', {
  fields: ['CREATED_AT', 'NAME', 'UPDATED_AT', 'NEXT_RUN_AT'],
  descriptions: {
    CREATED_AT: 'When the workflow was created.',
    NAME: 'The name of the workflow. Case makes no difference, and characters come in the order of Unicode.',
    UPDATED_AT: 'When the workflow last changed.',
    NEXT_RUN_AT: 'When the next slot is due. Workflows that do not run by themselves count as the latest.',
  },
  keyTypes: {
    NAME: WORKFLOW_KEYS.NAME.type,
    UPDATED_AT: WORKFLOW_KEYS.UPDATED_AT.type,
    NEXT_RUN_AT: WORKFLOW_KEYS.NEXT_RUN_AT.type,
  },
});

const args = () => ({
  ...pagingArgs(),
  ...builder.args((t) => ({ filter: t.field({ type: WorkflowFilter, description: 'Which workflows.' }) })),
  ...order.argument(),
});

const COST = cost({
  base: STATEMENT_COST,
  given: { arguments: ['filter', 'orderBy'], cost: SEARCH_COST },
  pageSize: PAGE_SIZE,
});

builder.queryField('workflows', (t) =>
  t.field({
    type: WorkflowConnection,
    description: 'Your workflows.',
    extensions: COST,
    args: args(),
    resolve: (_, given, context) => pageOfWorkflows(viewerOf(context).user.id, given, context),
  }),
);

builder.objectField(User, 'workflows', (t) =>
  t.field({
    type: WorkflowConnection,
    description: 'The workflows of the account, as `Query.workflows` lists them.',
    extensions: COST,
    args: args(),
    resolve: ({ id }, given, context) => pageOfWorkflows(id, given, context),
  }),
);

type Given = PagingArgs & {
  filter?: typeof WorkflowFilter.$inferInput | null;
  orderBy?: Parameters<typeof order.asked>[0];
};

async function pageOfWorkflows(
  userId: string,
  { filter, orderBy, ...paging }: Given,
  { services: { db } }: Context,
): Promise<CountedPage<WorkflowRow>> {
  const by = order.asked(orderBy);
  const window = orderedWindowOf(paging, by);
  const problem = textProblem(filter?.nameContains ?? '');
  if (problem) throw failure('BAD_REQUEST', `\`nameContains\` ${problem}.`);
  const rows = await listWorkflows(db, userId, filter ?? {}, { ...window, order: by.field });
  const page = pageOf<ListedWorkflow>(rows, window, orderedCursorOf(by));
  return counted(page, () => countWorkflows(db, userId, filter ?? {}, COUNTED_MAX));
}
