import { setMaxListeners } from 'node:events';
import { HEARTBEAT_TIMEOUT_SECONDS, HEARTBEAT_TIMEOUT_SECONDS_MAX } from '../../domain/limits.ts';
import type { HeartbeatPayload } from '../../domain/payload/payload.ts';
import { createNames } from '../shared/dns/names.ts';
import { checkDns } from './checks/dns.ts';
import { parseEndpoint } from './checks/endpoint.ts';
import { judged } from './checks/faults.ts';
import { checkHttp } from './checks/http/http.ts';
import { checkPlatform, type PlatformChecks } from './checks/platform.ts';
import { CheckFailure, type CheckResult, type EndpointContext, Run, UnclearFailure } from './checks/run.ts';
import { checkTcp } from './checks/tcp.ts';
import { createConnectivity } from './network/connectivity.ts';

export type { PlatformChecks } from './checks/platform.ts';
export type { CheckLine, CheckReason, CheckResult } from './checks/run.ts';

/** The context that the worker gives a check. */
export interface CheckContext extends EndpointContext {
  platform: PlatformChecks;
}

const systemNames = createNames();
const system = { names: systemNames, connectivity: createConnectivity({ names: systemNames }) };

/**
 * Runs the check of a HEARTBEAT once, within its time-out. It resolves whatever the endpoint does,
 * and leaves no socket open. When `context.signal` aborts it resolves at once with the reason
 * SYSTEM.
 */
export function runCheck(payload: HeartbeatPayload<never>, context: CheckContext): Promise<CheckResult> {
  const timeoutMs =
    Math.min(payload.timeout_seconds ?? HEARTBEAT_TIMEOUT_SECONDS, HEARTBEAT_TIMEOUT_SECONDS_MAX) * 1_000;
  if (payload.endpoint === undefined) return checkPlatform(context.platform, timeoutMs, context.signal);
  return checkEndpoint(payload, payload.endpoint, context, timeoutMs);
}

async function checkEndpoint(
  payload: HeartbeatPayload<never>,
  endpoint: string,
  context: EndpointContext,
  timeoutMs: number,
): Promise<CheckResult> {
  const run = new Run(context, system);
  try {
    await Promise.race([checkByScheme(run, payload, endpoint), ending(run, timeoutMs)]);
    return { ok: true, lines: run.lines };
  } catch (error) {
    run.end(); // so that nothing goes on while we find out whose fault it is
    const failure = await judged(run, error instanceof CheckFailure ? error : unforeseen(error));
    const message = run.masked(failure.message);
    run.logFailure(message);
    return { ok: false, reason: failure.reason, message, lines: run.lines };
  } finally {
    run.end();
  }
}

async function checkByScheme(run: Run, payload: HeartbeatPayload<never>, endpoint: string): Promise<void> {
  const { scheme, url } = parseEndpoint(endpoint);
  if (scheme === 'tcp:') return checkTcp(run, payload, url);
  if (scheme === 'dns:') return checkDns(run, payload, url);
  return checkHttp(run, payload, url);
}

/** Rejects when the time is up or the caller aborts. */
function ending(run: Run, timeoutMs: number): Promise<never> {
  const { signal } = run.context;
  setMaxListeners(0, signal); // Node warns about an eleventh check under one signal
  return new Promise((_, reject) => {
    const stop = () => reject(new CheckFailure('The check was stopped before it ended.', 'SYSTEM'));
    const timer = setTimeout(() => reject(tooLate(run, timeoutMs)), timeoutMs);
    run.atEnd(() => {
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
    });
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop);
  });
}

function tooLate(run: Run, timeoutMs: number): CheckFailure {
  const { waitingFor } = run;
  const what = typeof waitingFor === 'string' ? waitingFor : waitingFor();
  const message = `Timed out after ${timeoutMs / 1_000} s waiting for ${what}.`;
  if (run.waitsForTurn) return new CheckFailure(`${message} This worker has too much to do.`, 'SYSTEM');
  if (run.suspect === undefined) return new CheckFailure(message, 'TIMEOUT');
  return new UnclearFailure(message, 'TIMEOUT', run.suspect);
}

/** A fault of ours. It is reported as SYSTEM, so it terminates no workflow. */
function unforeseen(error: unknown): CheckFailure {
  return new CheckFailure(
    `The check itself failed: ${error instanceof Error ? error.message : String(error)}.`,
    'SYSTEM',
  );
}
