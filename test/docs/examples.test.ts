import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { buildSchema, parse, print, validate } from 'graphql';
import { createClient } from 'graphql-ws';
import { afterEach, describe, expect, test } from 'vitest';
import WebSocket from 'ws';
import { z } from 'zod';
import { graphiqlTabs } from '../../api/http/graphiql/tabs.ts';
import { reportMissing } from '../support/parts.ts';
import { ask, cleanUp, startProcess, tempFolder } from '../support/processes.ts';
import { blocksIn } from './blocks.ts';

afterEach(cleanUp);

const run = promisify(execFile);
const curl = await run('curl', ['--version']).catch(() => undefined);
if (!curl) reportMissing('curl', 'the examples of docs/use/logs.md');

const examplesIn = (document: string, language: 'graphql' | 'sh' = 'graphql') => blocksIn(document, language);

describe('the GraphQL examples', () => {
  test.each([
    'README.md',
    'docs/use/graphql.md',
    'docs/use/workflows.md',
    'docs/use/schedules.md',
    'docs/use/push-heartbeats.md',
    'docs/use/alerts.md',
  ])('of %s are valid documents of the schema', async (document) => {
    const schema = buildSchema(await readFile('schema.graphql', 'utf8'));
    const examples = await examplesIn(document);
    expect(examples.length).toBeGreaterThan(0);
    for (const example of examples) expect(validate(schema, parse(example)), example).toEqual([]);
  });

  test('of the README are the ones that GraphiQL opens with', async () => {
    const tabs = graphiqlTabs.map(({ query }) => print(parse(query)));
    for (const example of await examplesIn('README.md')) expect(tabs).toContain(print(parse(example)));
  });

  test('of the README and of docs/use/logs.md work one after the other, from the first account to the last line of a job', async () => {
    const url = await startProcess(['up'], { PORT: '0', DATA_DIR: await tempFolder() }).ready();
    const [signUp = '', create = '', runNow = '', follow = ''] = await examplesIn('README.md');
    // A browser gets a cookie instead of a token.
    const withToken = signUp.replace('user { id email }', 'token user { id email }');
    const token = z.object({ signUp: z.object({ token: z.string() }) }).parse(await ask(url, withToken)).signUp.token;

    const made = z.object({ createWorkflow: z.object({ workflow: z.object({ id: z.string() }) }) });
    const { id } = made.parse(await ask(url, create, { token })).createWorkflow.workflow;
    const requested = z.object({ runWorkflow: z.object({ job: z.object({ id: z.string() }) }) });
    const jobId = requested.parse(await ask(url, runNow, { token, variables: { workflowId: id } })).runWorkflow.job.id;

    const client = createClient({
      url: url.replace('http', 'ws'),
      webSocketImpl: WebSocket,
      connectionParams: { authorization: `Bearer ${token}` },
    });
    const batch = z.object({ data: z.object({ jobLogs: z.object({ text: z.string() }) }) });
    let output = '';
    for await (const result of client.iterate({ query: follow, variables: { jobId } })) {
      output += batch.parse(result).data.jobLogs.text;
    }
    await client.dispose();
    expect(output).toMatch(/database/i); // the check of the platform logs this word

    if (!curl) return;
    const folder = await tempFolder();
    const script = (await examplesIn('docs/use/logs.md', 'sh'))
      .join('\n')
      .replaceAll('http://localhost:4000', new URL(url).origin);
    const env = { ...process.env, TOKEN: token, JOB: jobId };
    const { stdout } = await run('sh', ['-euc', script], { cwd: folder, env, timeout: 60_000 });
    expect(stdout).toBe(output); // the output of ?follow; nothing follows behind the cursors
    expect(await readFile(join(folder, 'job.log'), 'utf8')).toBe(output);
    expect((await readFile(join(folder, 'job.ndjson'), 'utf8')).match(/"cursor"/g)).toHaveLength(
      output.split('\n').length - 1,
    );
  });
});
