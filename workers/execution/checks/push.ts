import type { MissedPing } from '../../../db/pings/miss.ts';
import { isoTime } from '../../../domain/iso-time.ts';
import type { Push } from '../../../domain/payload/push.ts';
import type { CheckResult } from './run.ts';

/**
 * The job of a push heartbeat: it is made when something has not come in time, so it fails at once,
 * and says what.
 */
export function missedPing(push: Push, { scheduledAt, startedAt }: MissedPing): CheckResult {
  const message = startedAt
    ? `It started at ${isoTime(startedAt)}, and has not said within ${push.runGraceSeconds} s that it ended.`
    : `No ping came within ${push.startGraceSeconds} s of ${isoTime(scheduledAt)}.`;
  const line = { stream: 'STDERR' as const, timestamp: new Date(), text: message };
  return { ok: false, reason: 'CHECK_FAILED', message, lines: [line], isFinal: true };
}
