import { access, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { z } from 'zod';
import { reportMissing } from '../support/parts.ts';
import { ask, cleanUp, startProcess, tempFolder } from '../support/processes.ts';
import { untilSlow } from '../support/time.ts';

afterAll(cleanUp);

const LIBRARY = '/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1';
const hasLibrary = await access(LIBRARY).then(
  () => true,
  () => false,
);
if (!hasLibrary) reportMissing('libfaketime', 'a clock that is set back under a running server');

const SIGN_UP = 'mutation { signUp(input: {email: "ann@example.com", password: "correct horse"}) { token } }';
const create = (
  schedule: string,
) => `mutation { createWorkflow(input: {name: "Check", payload: {heartbeat: {}}, schedule: ${schedule},
  maxConsecutiveJobFailuresAllowed: 3}) { workflow { id } } }`;
const CREATE = create('{everyMinutes: 1}');
const CREATE_CRON = create('{cron: {expressions: ["* * * * *"]}}');
const Created = z.object({ createWorkflow: z.object({ workflow: z.object({ id: z.string() }) }) });
const NextRun = z.object({ workflow: z.object({ nextRunAt: z.coerce.date() }) });
const Jobs = z.object({ jobs: z.object({ nodes: z.array(z.object({ id: z.string(), status: z.string() })) }) });

test.skipIf(!hasLibrary)('a server goes on when the clock is set back by an hour under it, and says so', async () => {
  const folder = await tempFolder();
  const clock = join(folder, 'clock');
  await writeFile(clock, '+0');
  const server = startProcess(['up'], {
    DATA_DIR: join(folder, 'data'),
    PORT: '0',
    LD_PRELOAD: LIBRARY,
    FAKETIME_TIMESTAMP_FILE: clock,
    FAKETIME_NO_CACHE: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
  });
  const url = await server.ready();
  const { signUp } = await ask(url, SIGN_UP);
  const { token } = z.object({ token: z.string() }).parse(signUp);
  const ids: string[] = [];
  for (const mutation of [CREATE, CREATE_CRON])
    ids.push(Created.parse(await ask(url, mutation, { token })).createWorkflow.workflow.id);
  const [interval = '', cron = ''] = ids;
  const completed = async () => {
    const { jobs } = Jobs.parse(
      await ask(url, `{ jobs(filter: {workflowId: "${interval}"}) { nodes { id status } } }`, { token }),
    );
    return jobs.nodes.filter(({ status }) => status === 'COMPLETED').length;
  };
  await untilSlow('the first job', async () => (await completed()) === 1);

  await writeFile(clock, '-3600');
  const said = await server.line(({ msg }) => String(msg).includes('begin anew'), 'the line on the schedules');
  expect(said.level).toBe('warn');
  await untilSlow('the next slot of the calendar is near', async () => {
    const answer = await ask(url, `{ workflow(id: "${cron}") { nextRunAt } }`, { token });
    return NextRun.parse(answer).workflow.nextRunAt.getTime() <= Date.now() - 3_600_000 + 61_000;
  });
  const clockLine = server.log.find(({ msg }) => msg === 'The clock of the database was set back.');
  expect(clockLine?.seconds).toBeGreaterThan(3_500);
  expect(clockLine?.seconds).toBeLessThan(3_700);

  await writeFile(clock, '-3540'); // the minute of the interval passes
  await untilSlow('the next job', async () => (await completed()) === 2);
});
