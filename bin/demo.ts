import { join } from 'node:path';
import { z } from 'zod';
import { withImage } from '../domain/images/registry-allow.ts';
import type { CommandContext } from './context.ts';
import { type DemoCredentials, keepDemoUser, signInToDemo } from './demo-account.ts';
import { openDemoSite, runDemoAlert } from './demo-alert.ts';
import { createDemoClient, type DemoClient } from './demo-client.ts';
import { type DemoRun, type DemoWorkflow, followWorkflow, runDemoWorkflow, type Say } from './demo-workflow.ts';
import type { OpenParts } from './open-parts.ts';
import { refuseTakenPort } from './start-api.ts';
import { PortTaken } from './startup-error.ts';
import { startAll } from './up.ts';

/** Both jobs take seconds. Pulling the image takes as long as the network needs. */
const DEMO_MINUTES_MAX = 10;

const HEARTBEAT: DemoWorkflow = {
  name: 'Demo heartbeat',
  payload: { heartbeat: {} }, // no endpoint: the platform checks itself
  schedule: { cron: { expressions: ['* * * * *'], timeZone: 'UTC' } },
};

const SCRIPT = 'for n in 1 2 3 4 5; do echo "line $n of 5, at $(date +%T)"; sleep 0.5; done; echo "$GREETING"';

function container(image: string): DemoWorkflow {
  return {
    name: `Demo container (${image})`,
    payload: {
      container: {
        image,
        pullPolicy: 'IF_MISSING', // the demo runs without a network too
        command: ['sh', '-c'],
        args: [SCRIPT],
        env: [{ name: 'GREETING', value: 'done' }],
      },
    },
    schedule: { everyMinutes: 1 },
  };
}

/**
 * `chronoverse demo`: runs everything in one process, runs two workflows through the api, and
 * follows their output. Its embedded database is not the one of `up`. There, the demo's account
 * would be the first, and sign-up would be closed for the next person.
 */
export async function runDemo(given: CommandContext, { once }: { once: boolean }): Promise<number | undefined> {
  const { shutdown, settings } = given;
  // The operator names this image with DEMO_IMAGE. If the engine has it, no registry is asked.
  const localImages = withImage(settings.localImages, settings.demoImage);
  const dataDir = join(settings.dataDir, 'demo');
  const context = { ...given, settings: { ...settings, dataDir, localImages } };
  const port = await freePort(settings);
  let credentials: DemoCredentials | undefined;
  const prepare = async (parts: OpenParts) => {
    if (parts.dataDir === undefined) throw new Error('The demo needs the data folder for its user.');
    credentials = await keepDemoUser(parts.db, parts.dataDir);
  };
  const { url } = await startAll(context, { port, keepsFiles: true, prepare });
  if (credentials === undefined) throw new Error('The demo has no user.');
  const client = createDemoClient(url, await signInToDemo(url, credentials));
  shutdown.add('clients', 'demo client', client.close);

  const alert =
    settings.alertWebhook === undefined ? undefined : await prepareAlert(given, client, settings.alertWebhook);
  if (alert === undefined) say(WITHOUT_ALERT);
  const runs = await withDeadline(runWorkflows(client, settings.demoImage, alert));
  for (const { label, failure } of runs) if (failure !== undefined) say(`The ${label} did not complete: ${failure}`);
  invite(url, credentials, { once, dataDir, hasAlert: alert !== undefined });
  if (once) return Number(runs.some(({ failure }) => failure !== undefined));
  for (const run of runs) void keepFollowing(client, run, shutdown.signal);
  return undefined;
}

interface Labelled extends Partial<DemoRun> {
  label: string;
}

const WITHOUT_ALERT =
  'To see an alert and its end, run a webhook of yours and name it: ALERT_WEBHOOK=http://127.0.0.1:8080/ npm run demo';

/** What shows an alert on a webhook. Its site stays up until the demo ends. */
async function prepareAlert({ shutdown }: CommandContext, client: DemoClient, webhook: string): Promise<Run> {
  const site = await openDemoSite();
  shutdown.add('clients', 'demo site', site.close);
  return (say) => runDemoAlert(client, { webhook, site }, say);
}

type Run = (say: Say) => Promise<DemoRun>;

/** Runs the workflows side by side. */
async function runWorkflows(client: DemoClient, image: string, alert: Run | undefined): Promise<Labelled[]> {
  const wanted: [string, Run][] = [['heartbeat', (line) => runDemoWorkflow(client, HEARTBEAT, line)]];
  if (await hasEngine(client)) wanted.push(['container', (line) => runDemoWorkflow(client, container(image), line)]);
  if (alert !== undefined) wanted.push(['alert', alert]);
  const runs = wanted.map(async ([label, run]): Promise<Labelled> => {
    try {
      return { label, ...(await run(sayAs(label))) };
    } catch (error) {
      return { label, failure: error instanceof Error ? error.message : String(error) };
    }
  });
  return Promise.all(runs);
}

/** Shows the later runs too. */
async function keepFollowing(client: DemoClient, { label, workflowId, ...run }: Labelled, signal: AbortSignal) {
  if (workflowId === undefined) return;
  try {
    await followWorkflow(client, { ...run, workflowId }, sayAs(label));
  } catch (error) {
    if (!signal.aborted)
      say(`${label} | its runs are not shown any more: ${error instanceof Error ? error.message : error}`);
  }
}

function sayAs(label: string): (line: string) => void {
  return (line) => say(`${label} | ${line}`);
}

async function hasEngine(client: DemoClient): Promise<boolean> {
  const { system } = await client.request(
    '{ system { docker } }',
    {},
    z.object({ system: z.object({ docker: z.enum(['UP', 'DOWN', 'EMBEDDED', 'ABSENT']) }) }),
  );
  if (system.docker === 'UP') return true;
  const what = system.docker === 'ABSENT' ? 'No Docker engine was found' : 'The Docker engine does not answer';
  say(`${what} (DOCKER_HOST, or /var/run/docker.sock), so the demo goes on without its CONTAINER workflow.`);
  return false;
}

async function withDeadline(runs: Promise<Labelled[]>): Promise<Labelled[]> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Labelled[]>((resolve) => {
    const failure = `its jobs have not ended after ${DEMO_MINUTES_MAX} minutes.`;
    timer = setTimeout(() => resolve([{ label: 'demo', failure }]), DEMO_MINUTES_MAX * 60_000);
  });
  try {
    return await Promise.race([runs, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function freePort({ host, port }: { host: string; port: number }): Promise<number> {
  try {
    await refuseTakenPort(host, port);
    return port;
  } catch (error) {
    if (!(error instanceof PortTaken)) throw error;
    say(`Port ${port} is taken, so the demo takes a free one.`);
    return 0;
  }
}

function invite(
  url: string,
  { email, password }: DemoCredentials,
  { once, dataDir, hasAlert }: { once: boolean; dataDir: string; hasAlert: boolean },
): void {
  const signIn = `mutation { signIn(input: { email: "${email}", password: "${password}" }) { userErrors { message } } }`;
  say('');
  say(
    once
      ? 'The demo ends. Run npm run demo without --once: it goes on, with GraphiQL, where you sign in like this:'
      : `Each ${hasAlert ? 'but the one of the alert ' : ''}runs every minute from now on. GraphiQL is on ${url}\nTo sign in there, run this mutation:`,
  );
  say('');
  say(`  ${signIn}`);
  say('');
  say(`  e-mail    ${email}`);
  say(`  password  ${password}`);
  say('');
  say(
    `${once ? '' : 'Ctrl-C stops everything. '}The demo's data stays in ${dataDir}: a server that you start with up does not have it.`,
  );
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
