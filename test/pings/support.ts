import { eq } from 'drizzle-orm';
import { expect } from 'vitest';
import { schedules } from '../../db/schema.ts';
import { ask } from '../api/download-client.ts';
import { createWorkflow, type Person, query, type TestApi } from '../api/support.ts';

/** A push heartbeat of `who`, expected each hour, that five failures end. */
export async function pushHeartbeat(
  api: TestApi,
  who: Person,
  push: object = {},
  input: object = {},
): Promise<{ id: string; url: string }> {
  const { workflow, userErrors } = await createWorkflow(
    api,
    who,
    { payload: { heartbeat: { push } }, interval: 60, maxConsecutiveJobFailuresAllowed: 5, ...input },
    'id pingUrl',
  );
  if (!workflow) throw new Error(JSON.stringify(userErrors));
  return { id: workflow.id, url: workflow.pingUrl };
}

/** Sends a ping. Resolves with the status and the text. */
export async function send(
  api: { url: string },
  path: string,
  {
    method = 'GET',
    body,
    headers = {},
  }: { method?: string; body?: string | Buffer; headers?: Record<string, string> } = {},
): Promise<{ status: number; text: string; headers: Headers }> {
  const response = await fetch(new URL(path, api.url), {
    method: body === undefined ? method : 'POST',
    headers,
    ...(body === undefined ? {} : { body: new Uint8Array(Buffer.from(body)) }),
  });
  return { status: response.status, text: await response.text(), headers: response.headers };
}

export async function scheduleOf({ db }: Pick<TestApi, 'db'>, id: string) {
  const [row] = await db.select().from(schedules).where(eq(schedules.workflowId, id));
  if (row === undefined) throw new Error('The workflow has no schedule.');
  return row;
}

/** Expects the next ping in `seconds`, less what the test has taken: a busy machine is slow. */
export async function expectIn(api: TestApi, id: string, seconds: number): Promise<void> {
  const { nextRunAt } = await scheduleOf(api, id);
  const left = (Number(nextRunAt) - Date.now()) / 1_000;
  expect(left).toBeLessThanOrEqual(seconds + 1);
  expect(left).toBeGreaterThan(seconds - SLOW_SECONDS);
}

/** What a busy machine may take for a step of a test. */
export const SLOW_SECONDS = 50;

/** The text of the log of a job. */
export async function logOf(api: TestApi, who: Person, jobId: string): Promise<string> {
  return (await ask(api, `/logs/${jobId}`, { token: who.token })).whole();
}

/** Changes a workflow, and answers with what is wrong. */
export async function update(api: TestApi, who: Person, input: object, fields = 'pingUrl') {
  const document = `mutation ($input: UpdateWorkflowInput!) { updateWorkflow(input: $input) {
    workflow { ${fields} } userErrors { code path message } } }`;
  return (await query(api, document, { token: who.token, variables: { input } })).data.updateWorkflow;
}
