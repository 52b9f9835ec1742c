import { constants } from 'node:os';
import type { Outcome } from '../../../db/jobs/finish.ts';
import type { ContainerState } from '../../../platform/docker/container-state.ts';
import { isPayloadsFault, withoutHostPaths } from '../../../platform/docker/errors.ts';

export type RunOutcome = Pick<Outcome, 'status' | 'exitCode' | 'failureReason' | 'failureMessage'>;
export type StoppedBy = 'CANCEL' | 'TIMEOUT';

const SIGNALED_FROM = 128; // shells and the init process report a signal as 128 + its number
const MESSAGE_LENGTH_MAX = 2_000;
const NOT_STARTED_CODES = [126, 127];
/** The init process starts the command, so it reports a missing command, in the log's last line. */
const INIT_REFUSAL = /^\[FATAL tini \(\d+\)\] (.*)$/;

/** The job's outcome, from its ended container. */
export function outcomeOf({
  state,
  stoppedBy,
  timeoutSeconds,
  lastText,
}: {
  state: ContainerState;
  stoppedBy: StoppedBy | undefined;
  timeoutSeconds: number;
  lastText: string;
}): RunOutcome {
  const { exitCode } = state;
  if (stoppedBy === 'CANCEL') return { status: 'CANCELED', exitCode };
  if (stoppedBy === 'TIMEOUT')
    return failed('TIMEOUT', `It ran for longer than its time-out of ${timeoutSeconds} s, and was stopped.`, exitCode);
  if (exitCode === 0) return { status: 'COMPLETED', exitCode };
  if (state.oomKilled)
    return failed('OUT_OF_MEMORY', 'It used more memory than it may, and was killed by the kernel.', exitCode);
  const refusal = NOT_STARTED_CODES.includes(exitCode) ? INIT_REFUSAL.exec(lastText)?.[1] : undefined;
  if (refusal !== undefined) return failed('START_FAILED', `The command could not be started: ${refusal}.`, exitCode);
  if (state.error !== '')
    return failed(isPayloadsFault(state.error) ? 'START_FAILED' : 'SYSTEM', withoutHostPaths(state.error), exitCode);
  return failed('EXIT_CODE', `It exited with the code ${exitCode}${bySignal(exitCode)}.`, exitCode);
}

export function failed(
  failureReason: NonNullable<Outcome['failureReason']>,
  message: string,
  exitCode?: number,
): RunOutcome {
  const failureMessage = message.replaceAll('\0', '').slice(0, MESSAGE_LENGTH_MAX);
  return { status: 'FAILED', failureReason, failureMessage, exitCode };
}

function bySignal(exitCode: number): string {
  const name = Object.entries(constants.signals).find(([, number]) => number === exitCode - SIGNALED_FROM)?.[0];
  return name === undefined ? '' : `, which stands for an end by ${name}`;
}
