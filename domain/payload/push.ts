import { PING_RUN_GRACE_SECONDS, PING_START_GRACE_SECONDS } from '../limits.ts';
import type { HeartbeatPayload } from './payload.ts';

/** What a push heartbeat expects, with its defaults. */
export interface Push {
  /** How long after its slot a ping may come. */
  startGraceSeconds: number;
  /** How long a run may take that has said that it started. */
  runGraceSeconds: number;
  postOnly: boolean;
}

export function pushOf({
  start_grace_seconds: startGraceSeconds = PING_START_GRACE_SECONDS,
  run_grace_seconds: runGraceSeconds = PING_RUN_GRACE_SECONDS,
  post_only: postOnly = false,
}: NonNullable<HeartbeatPayload['push']>): Push {
  return { startGraceSeconds, runGraceSeconds, postOnly };
}
