import type { Benchmark, Finding } from '../harness.ts';
import { follow, followWorkflows, openMany, reconnect } from './scenarios.ts';
import { startSystem } from './system.ts';

const OPENED = 1_000;

/**
 * Measures subscribers on one api process, with real servers. The subscribers are processes on the
 * same machine; `ulimit -n` must allow 10,000 connections in each process.
 */
export const watchers: Benchmark = {
  name: 'watchers',
  describe: 'thousands of subscribers to one api process: what they cost, and how late they are',
  async run(progress) {
    const system = await startSystem();
    const findings: Finding[] = [];
    const add = (what: string, ours: number[], unit: string, budget: string) => {
      findings.push({ what, ours, unit, budget });
      progress(`${what}: ${ours.map((value) => value.toFixed(1)).join(', ')} ${unit}`);
    };
    const whole = (problem: string) => {
      if (problem !== '') progress(`NOT WHOLE: ${problem}`);
    };
    try {
      for (const [kind, name] of [
        ['WEBSOCKET', 'a WebSocket'],
        ['SSE', 'SSE'],
      ] as const) {
        const { cpuMs, bytes } = await openMany(system, kind, OPENED);
        add(`CPU to open a subscription over ${name}`, [cpuMs], 'ms', '1 ms');
        add(`memory of a subscription over ${name}, its connection included`, [bytes / 1_024], 'KB', '15 KB');
      }
      for (const [subscribers, budget] of [
        [1_000, 'p99 100 ms'],
        [10_000, 'p50 100 ms, p99 500 ms'],
      ] as const) {
        const { p50, p99, core, problem } = await follow(system, { subscribers });
        const name = `${subscribers.toLocaleString('en')} followers of one job at 100 lines a second`;
        add(`${name}: p50, p99`, [p50, p99], 'ms (the range is p50 to p99)', budget);
        add(`${name}: the api`, [core], '% of a core', 'none of its own');
        whole(problem);
      }
      const spread = await follow(system, { subscribers: 10_000, perSocket: 10, jobs: 100 });
      add(
        '10,000 subscriptions to 100 jobs, 100 lines a second: p50, p99',
        [spread.p50, spread.p99],
        'ms',
        'p99 500 ms',
      );
      add('10,000 subscriptions to 100 jobs: the api', [spread.core], '% of a core', 'none of its own');
      whole(spread.problem);
      const changes = await followWorkflows(system, { subscribers: 1_000, changesPerSecond: 20 });
      add('1,000 followers of 20 changes of workflows a second: the api', [changes.core], '% of a core', 'half a core');
      whole(changes.problem);
      const again = await reconnect(system, 1_000);
      add('1,000 subscribers follow again after a restart', [again.seconds], 's after ready', '3 s');
      whole(again.problem);
      return findings;
    } finally {
      await system.stop();
    }
  },
};
