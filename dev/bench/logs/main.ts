import type { Benchmark } from '../harness.ts';
import { measureCrowd } from './crowd.ts';
import { measureLatency } from './latency.ts';
import { measureOthers } from './other-jobs.ts';
import { LINES, measureRate } from './rate.ts';
import { measureSubscribers } from './subscribers.ts';
import { startSystem } from './system.ts';

/**
 * Measures the way of a line from a container to the store and to a subscriber, with real
 * processes, Kafka and the engine.
 */
export const logs: Benchmark = {
  name: 'logs',
  describe: `a container that prints ${LINES.toLocaleString('en')} lines, stored and followed; latency; subscribers`,
  async run(progress) {
    const system = await startSystem();
    try {
      return [
        ...(await measureRate(system, progress)),
        await measureLatency(system, progress),
        await measureCrowd(system, progress),
        await measureSubscribers(system, progress),
        ...(await measureOthers(system, progress)),
      ];
    } finally {
      await system.stop();
    }
  },
};
