import type { JobSummary } from '../../db/listing/jobs.ts';
import type { JobRow, WorkflowRow } from '../../db/schema.ts';
import type { Context } from '../context.ts';

/**
 * The fields for which a few columns of a row are enough (JobSummary, WorkflowLabel). A document
 * that shows no other fields of a type anywhere is answered from rows with these columns alone.
 */
export const SUMMARY_FIELDS: Readonly<Record<string, ReadonlySet<string>>> = {
  Job: new Set([
    'id',
    'workflowId',
    'workflow',
    'trigger',
    'status',
    'attempt',
    'scheduledAt',
    'startedAt',
    'completedAt',
    'durationMs',
    'exitCode',
    'failureReason',
    'failureMessage',
    'logLineCount',
    'firstLogLine',
    'logs',
  ]),
  Workflow: new Set(['id', 'name', 'kind']),
};

/** Whether a field needs more than the summary of the row that has it. */
export function needsWholeRow(type: string, field: string): boolean {
  return SUMMARY_FIELDS[type]?.has(field) === false;
}

/**
 * The rows that `ofSummaries` reads where the document shows no more, and else those of `ofRows`.
 * No field that is shown reads another column: test/api/same-answers.test.ts shows all of them.
 */
export async function jobsFor(
  { summaries }: Context,
  ofRows: () => Promise<JobRow[]>,
  ofSummaries: () => Promise<JobSummary[]>,
): Promise<JobRow[]> {
  return summaries.has('Job') ? ((await ofSummaries()) as JobRow[]) : ofRows();
}

/** The workflow of an object. */
export async function workflowFor({ summaries, load }: Context, id: string): Promise<WorkflowRow | undefined> {
  if (!summaries.has('Workflow')) return load.workflow(id);
  return (await load.workflowLabel(id)) as WorkflowRow | undefined;
}
