import { createRequire } from 'node:module';

/**
 * kafkajs 2.2.4 sets a timer with a negative delay after each response, which fires after 1 ms and
 * sets the next: 1,000 wake-ups a second for each connection for ever, and on Node 24 a
 * TimeoutNegativeWarning each. The timer is needed while requests wait for a throttled connection
 * only. Another version, or one whose inside looks different, is left as it is.
 */
interface RequestQueue {
  pending: unknown[];
  scheduleCheckPendingRequests(): void;
}

const inside: unknown = createRequire(import.meta.url)('kafkajs/src/network/requestQueue/index.js');
const prototype: unknown = typeof inside === 'function' ? inside.prototype : undefined;

if (isRequestQueue(prototype)) {
  const schedule = prototype.scheduleCheckPendingRequests;
  prototype.scheduleCheckPendingRequests = function (this: RequestQueue) {
    if (this.pending.length > 0) schedule.call(this);
  };
}

function isRequestQueue(value: unknown): value is RequestQueue {
  return (
    typeof value === 'object' &&
    value !== null &&
    'scheduleCheckPendingRequests' in value &&
    typeof value.scheduleCheckPendingRequests === 'function'
  );
}
