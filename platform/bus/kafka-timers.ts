import { createRequire } from 'node:module';

/**
 * kafkajs 2.2.4 sets a timer with a negative delay after each response. It fires after 1 ms and
 * sets the next one. So each connection wakes up 1,000 times a second for ever, each time with a
 * TimeoutNegativeWarning on Node 24. Only requests that wait for a throttled connection need the
 * timer. Another version, or one with other internals, is left alone.
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
