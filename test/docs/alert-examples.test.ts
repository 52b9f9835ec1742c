import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { symlink, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import { mailServer } from '../alerting/mail-server.ts';
import { status, stub } from '../alerting/messages.ts';
import { testDatabase } from '../support/database.ts';
import { reportMissing } from '../support/parts.ts';
import { freePort } from '../support/ports.ts';
import { ask, cleanUp, startProcess, tempFolder } from '../support/processes.ts';
import { blocksIn } from './blocks.ts';

afterEach(cleanUp);

const PAGE = 'docs/use/alerts.md';
const python = await promisify(execFile)('python3', ['--version']).catch(() => undefined);
if (!python) reportMissing('python3', `the receiver in Python of ${PAGE}`);

/** A receiver of the page, with the secret of its channel. Resolves when it listens. */
async function receiver(command: string, file: string, { secret, port }: { secret: string; port: number }) {
  const env = { ...process.env, ALERT_SECRET: secret, PORT: String(port) };
  const child = spawn(command, [file], { env, stdio: ['ignore', 'pipe', 'ignore'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (piece: string) => {
    output += piece;
  });
  const ended = once(child, 'close');
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  const unsigned = { method: 'POST', body: '{}' };
  const answer = () => fetch(`http://127.0.0.1:${port}/`, unsigned).then(({ status: code }) => code, String);
  await expect.poll(answer, { message: `${file} refuses what nobody has signed` }).toBe(401);
  return { lines: () => output.split('\n').filter((line) => line !== '') };
}

test('the examples for alerts work one after the other, and each channel gets its messages', async () => {
  const folder = await tempFolder();
  await symlink(resolve('node_modules'), join(folder, 'node_modules'));
  const files = { node: join(folder, 'receiver.mjs'), python: join(folder, 'receiver.py') };
  await writeFile(files.node, (await blocksIn(PAGE, 'js')).join(''));
  await writeFile(files.python, (await blocksIn(PAGE, 'python')).join(''));
  const mail = await mailServer();
  const chat = await stub();
  const site = await stub(status(503));
  const settings = { SMTP_URL: `smtp://${mail.host}`, MAIL_FROM: 'Chronoverse <alerts@example.com>' };
  const url = await startProcess(['up'], { PORT: '0', DATA_DIR: await tempFolder(), ...settings }).ready();
  const input = { email: 'ann@example.com', password: 'a long enough password' };
  const signUp = 'mutation ($input: SignUpInput!) { signUp(input: $input) { token } }';
  const session = z.object({ signUp: z.object({ token: z.string() }) });
  const { token } = session.parse(await ask(url, signUp, { variables: { input } })).signUp;

  const examples = new Map<string, string>();
  for (const example of await blocksIn(PAGE, 'graphql'))
    examples.set(/^(?:mutation|query) (\w+)/.exec(example)?.[1] ?? example, example);
  const left = new Set(examples.keys());
  /** Runs an example of the page. It must have no errors. */
  async function run(name: string, variables: Record<string, string> = {}, to = chat.url): Promise<string> {
    left.delete(name);
    const here = (examples.get(name) ?? '').replace(/https:\/\/[^/"]+(?=[/"])/g, to);
    const answer = await ask(url, here, { token, variables });
    for (const { userErrors } of Object.values(answer).flatMap((field) => payload.safeParse(field).data ?? []))
      expect(userErrors, name).toEqual([]);
    return JSON.stringify(answer);
  }
  const payload = z.object({ userErrors: z.array(z.unknown()) });
  const idIn = (answer: string) => /"id":"([-0-9a-f]+)"/.exec(answer)?.[1] ?? '';
  const secretIn = (answer: string) => /"secret":"(whsec_[^"]+)"/.exec(answer)?.[1] ?? '';

  const receivers: { lines(): string[] }[] = [];
  const channels: string[] = [];
  for (const [command, file] of [
    [process.execPath, files.node] as const,
    ...(python ? [['python3', files.python] as const] : []),
  ]) {
    const port = await freePort();
    const made = await run('CreateChannel', {}, `http://127.0.0.1:${port}`);
    channels.push(idIn(made));
    receivers.push(await receiver(command, file, { secret: secretIn(made), port }));
  }
  const [channelId = ''] = channels;
  expect(await run('TestChannel', { channelId })).toContain('"status":"DELIVERED"');

  const create = `mutation ($url: String!) { createWorkflow(input: { name: "shop", payload: { heartbeat: { endpoint: $url } },
    schedule: { manual: true }, maxConsecutiveJobFailuresAllowed: 3 }) { workflow { id } } }`;
  const workflowId = idIn(JSON.stringify(await ask(url, create, { token, variables: { url: site.url } })));
  const runNow = 'mutation ($id: ID!) { runWorkflow(input: { id: $id }) { job { id } } }';
  await ask(url, runNow, { token, variables: { id: workflowId } });
  await expect.poll(() => run('Deliveries')).toMatch(/WORKFLOW_FAILING","status":"DELIVERED/);
  const expected = ['workflow.failing: shop is failing'];
  const [byNode, byPython] = receivers;
  await expect.poll(() => byNode?.lines()).toEqual(['test: Test of the alert channel ops', ...expected]);
  if (python) await expect.poll(() => byPython?.lines()).toEqual(expected);

  const deliveryId =
    /"id":"([-0-9a-f]+)","event":"WORKFLOW_FAILING","status":"DELIVERED"/.exec(await run('Deliveries'))?.[1] ?? '';
  expect(await run('Resend', { deliveryId })).toContain('PENDING');
  const again = `"id":"${deliveryId}","event":"WORKFLOW_FAILING","status":"DELIVERED","attempt":2`;
  await expect.poll(() => run('Deliveries')).toContain(again);
  expect(byNode?.lines()).toHaveLength(2); // the receiver knows the id
  await run('AlertLater', { workflowId });
  await run('OwnChannels', { workflowId, channelId });
  await run('Mute', { workflowId, until: new Date(Date.now() + 3_600_000).toISOString() });
  expect(await run('Unmute', { workflowId })).toContain('"mutedUntil":null');
  expect(secretIn(await run('RotateSecret', { channelId }))).not.toBe('');
  expect(await run('Enable', { channelId })).toContain('ACTIVE');

  const email = await run('CreateEmail');
  expect(email).toContain('UNCONFIRMED');
  await expect.poll(() => mail.mails.length).toBe(1);
  const [, code = ''] = /confirms it is (\d{8})/.exec(mail.mails[0]?.raw ?? '') ?? [];
  expect(await run('Confirm', { channelId: idIn(email), code })).toContain('ACTIVE');
  for (const name of ['CreateSlack', 'CreateDiscord', 'CreateNtfy'])
    expect(await run('TestChannel', { channelId: idIn(await run(name)) })).toContain('"status":"DELIVERED"');
  expect(await run('TestChannel', { channelId: idIn(email) })).toContain('"status":"DELIVERED"');
  expect(chat.received.map(({ url: path }) => path)).toEqual([
    '/services/T00000000/B00000000/XXXXXXXXXXXX',
    '/api/webhooks/123456789012345678/abcdefghijklmnop',
    '/shop-alerts-8Yxq2',
  ]);
  expect(mail.mails).toHaveLength(2);
  expect([...left]).toEqual([]);
}, 180_000);

test('the statements of docs/operate/alerts.md run on the database of this version', async () => {
  const database = await testDatabase();
  const statements = await blocksIn('docs/operate/alerts.md', 'sql');
  expect(statements).toHaveLength(3);
  for (const statement of statements) expect([...(await database.db.execute(statement))]).toEqual([]);
  await database.close();
});
