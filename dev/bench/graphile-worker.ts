import { Logger, makeWorkerUtils, run } from 'graphile-worker';

/**
 * The peer, in its own process: adds `count` trivial jobs and runs them with its best settings on
 * two cores (24 jobs at once, a local queue of 500, batched completions without delay). Prints jobs
 * per second. It keeps no history and has no bus.
 */
const [connectionString = '', countText = '0'] = process.argv.slice(2);
const count = Number(countText);
const ADD_SET = 1_000;
// One log line per job would cost it more than the job.
const logger = new Logger(() => () => undefined);

const utils = await makeWorkerUtils({ connectionString, logger });
await utils.migrate();

let ran = 0;
let done: () => void = () => undefined;
const all = new Promise<void>((resolve) => {
  done = resolve;
});
const started = performance.now();
const runner = await run({
  connectionString,
  logger,
  noHandleSignals: true,
  taskList: {
    trivial: () => {
      ran += 1;
      if (ran === count) done();
    },
  },
  preset: {
    worker: {
      concurrentJobs: 24,
      maxPoolSize: 26,
      localQueue: { size: 500 },
      completeJobBatchDelay: 0,
      failJobBatchDelay: 0,
    },
  },
});
for (let added = 0; added < count; added += ADD_SET) {
  const size = Math.min(ADD_SET, count - added);
  await utils.addJobs(Array.from({ length: size }, (_, n) => ({ identifier: 'trivial', payload: { n: added + n } })));
}
await all;
const seconds = (performance.now() - started) / 1_000;
await runner.stop();
await utils.release();
console.log(count / seconds);
