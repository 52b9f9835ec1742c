import { constants } from 'node:os';
import type { Outcome } from '../../../db/jobs/finish.ts';
import type { ContainerState } from '../../../platform/docker/container-state.ts';
import { shownFault, shownWords } from '../../../platform/docker/engine-words.ts';
import { isPayloadsFault } from '../../../platform/docker/errors.ts';

export type RunOutcome = Pick<Outcome, 'status' | 'exitCode' | 'failureReason' | 'failureMessage'>;
export type StoppedBy = 'CANCEL' | 'TIMEOUT';

const SIGNALED_FROM = 128; // shells and the init process report a signal as 128 + its number
const KILLED_CODE = SIGNALED_FROM + constants.signals.SIGKILL;
export const CHILD_KILLED =
  'One of its processes was killed by the kernel before, because the container had used all memory that it may.';
/** A busy engine misses the kill of a few containers in a hundred (containerd issue 8180). */
const KILLED_UNSAID =
  'Often that is the kernel, because the container had used all memory that it may, but the engine did not say so.';
/** The numbers of SIGRTMIN and SIGRTMAX on Linux, where Node.js has no names for them. */
const REAL_TIME_MIN = 34;
const REAL_TIME_MAX = 64;
const MESSAGE_LENGTH_MAX = 2_000;
const NOT_STARTED_CODES = [126, 127];
/** The init process starts the command, so it reports a missing command, in the log's last line. */
const INIT_REFUSAL = /^\[FATAL tini \(\d+\)\] (.*)$/;

/**
 * Whether the kernel killed the container's main process because memory ran out. The engine says
 * that it killed some process, and the exit code whether the main one: a shell whose command was
 * killed ends with the same code.
 */
export function isOutOfMemory({ oomKilled, exitCode }: Pick<ContainerState, 'oomKilled' | 'exitCode'>): boolean {
  return oomKilled && exitCode === KILLED_CODE;
}

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
  if (isOutOfMemory(state))
    return failed('OUT_OF_MEMORY', 'It used more memory than it may, and was killed by the kernel.', exitCode);
  const refusal = NOT_STARTED_CODES.includes(exitCode) ? INIT_REFUSAL.exec(lastText)?.[1] : undefined;
  if (refusal !== undefined) return failed('START_FAILED', refusalOf(refusal), exitCode);
  if (state.error !== '')
    return isPayloadsFault(state.error)
      ? failed('START_FAILED', shownWords(state.error), exitCode)
      : failed('SYSTEM', shownFault(state.error), exitCode);
  const hint = state.oomKilled ? ` ${CHILD_KILLED}` : exitCode === KILLED_CODE ? ` ${KILLED_UNSAID}` : '';
  return failed('EXIT_CODE', `It exited with the code ${exitCode}${bySignal(exitCode)}.${hint}`, exitCode);
}

/** What the init process says of the command, in our words where they are known. */
function refusalOf(said: string): string {
  const [, name = '', why = ''] = /^exec (.*) failed: (.*)$/.exec(said) ?? [];
  const command = `The command ${JSON.stringify(name)} could not be started`;
  if (why === 'No such file or directory')
    return name.includes('/')
      ? `${command}: the image has no such file, or lacks the interpreter that its first line names. A Windows line end (CRLF) there counts as a part of the name.`
      : `${command}: it is in none of the folders that PATH names.`;
  if (why === 'Permission denied') return `${command}: it is a folder, or its user may not execute it.`;
  return `The command could not be started: ${said}.`;
}

export function failed(
  failureReason: NonNullable<Outcome['failureReason']>,
  message: string,
  exitCode?: number,
): RunOutcome {
  const failureMessage = message.replaceAll('\0', '').slice(0, MESSAGE_LENGTH_MAX);
  return { status: 'FAILED', failureReason, failureMessage, exitCode };
}

/** The exit code of a program that this signal (`SIGINT`, `INT` or `2`) ends. */
export function codeOfSignal(signal = 'SIGTERM'): number {
  const name = signal.toUpperCase().replace(/^(SIG)?/, 'SIG');
  const named = Object.entries(constants.signals).find(([one]) => one === name)?.[1];
  const realTime = /^SIGRT(MIN|MAX)([+-]\d+)?$/.exec(name);
  const first = realTime && (realTime[1] === 'MIN' ? REAL_TIME_MIN : REAL_TIME_MAX);
  return SIGNALED_FROM + (named ?? (first === null ? Number(signal) : first + Number(realTime?.[2] ?? 0)));
}

function bySignal(exitCode: number): string {
  const name = Object.entries(constants.signals).find(([, number]) => number === exitCode - SIGNALED_FROM)?.[0];
  return name === undefined ? '' : `, which stands for an end by ${name}`;
}
