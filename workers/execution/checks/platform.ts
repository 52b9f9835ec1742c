import { setMaxListeners } from 'node:events';
import { type CheckLine, type CheckResult, elapsed } from './run.ts';

/**
 * Whether each part of the platform answers. An implementation may remember answers for a while.
 */
export interface PlatformChecks {
  database(): Promise<boolean>;
  bus(): Promise<boolean>;
  cache(): Promise<boolean>;
}

/**
 * The check of a HEARTBEAT without an endpoint: all parts at once. A part that is down fails it
 * with SYSTEM, because the fault is not the workflow's. It is the cheapest job, so it shows what a
 * job costs: one line, few objects, and a timer and a listener only while an answer is missing (3.3
 * microseconds a check when all answer).
 */
export async function checkPlatform(
  platform: PlatformChecks,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<CheckResult> {
  const parts: Reading[] = [unread('database'), unread('bus'), unread('cache')];
  const started = performance.now();
  let stopWaiting = () => {};
  const stopped = new Promise<void>((resolve) => {
    const turn = setImmediate(() => {
      stopWaiting = resolveAfter(timeoutMs, signal, resolve);
    });
    stopWaiting = () => clearImmediate(turn);
  });
  await Promise.race([Promise.all(parts.map((part) => read(platform, part, started))), stopped]);
  stopWaiting();
  return judge(parts, started);
}

/** Calls `resolve` after `timeoutMs` or when `signal` aborts. The returned function undoes that. */
function resolveAfter(timeoutMs: number, signal: AbortSignal, resolve: () => void): () => void {
  const timer = setTimeout(resolve, timeoutMs);
  setMaxListeners(0, signal); // Node warns about an eleventh check under one signal
  signal.addEventListener('abort', resolve);
  if (signal.aborted) resolve();
  return () => {
    clearTimeout(timer);
    signal.removeEventListener('abort', resolve);
  };
}

interface Reading {
  part: keyof PlatformChecks;
  state: 'up' | 'down' | 'silent';
  ms: number;
}

function unread(part: Reading['part']): Reading {
  return { part, state: 'silent', ms: 0 };
}

async function read(platform: PlatformChecks, reading: Reading, started: number): Promise<void> {
  try {
    reading.state = (await platform[reading.part]()) ? 'up' : 'down';
  } catch {
    reading.state = 'down'; // the check itself failed
  }
  reading.ms = performance.now() - started;
}

function judge(parts: Reading[], started: number): CheckResult {
  const ok = parts.every((part) => part.state === 'up');
  const text = parts.map((part) => describe(part, started)).join(', ');
  const lines: CheckLine[] = [{ stream: ok ? 'STDOUT' : 'STDERR', timestamp: new Date(), text }];
  if (ok) return { ok, lines };
  return {
    ok,
    reason: 'SYSTEM',
    message: `The platform is not well: ${text}. All three are expected to be up.`,
    lines,
  };
}

function describe({ part, state, ms }: Reading, started: number): string {
  return state === 'silent' ? `${part} silent (for ${elapsed(started)})` : `${part} ${state} (${ms.toFixed(1)} ms)`;
}
