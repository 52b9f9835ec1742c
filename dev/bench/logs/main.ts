import type { Benchmark } from '../harness.ts';
import { measureLatency } from './latency.ts';
import { measureOthers } from './other-jobs.ts';
import { LINES, measureRate } from './rate.ts';
import { measureSubscribers } from './subscribers.ts';
import { startSystem } from './system.ts';

/**
 * From a container's print to the stored line and to the subscriber, over real processes, Kafka and
 * the engine.
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
        await measureSubscribers(system, progress),
        ...(await measureOthers(system, progress)),
      ];
    } finally {
      await system.stop();
    }
  },
};
