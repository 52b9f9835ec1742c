import { defineConfig, type TestProjectInlineConfiguration } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/**
 * Where files take longest: they go first, because a run waits for the one that begins last. A
 * fresh clone knows no times.
 */
const SLOW = ['/test/faults/', '/test/workflow-worker/', '/test/processes/', '/test/interleavings/', '/test/docker/'];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isSlow = ({ moduleId }: TestSpecification) => SLOW.some((folder) => moduleId.includes(folder));
    const sorted = await super.sort(files);
    return [...sorted.filter(isSlow), ...sorted.filter((file) => !isSlow(file))];
  }
}

/**
 * Files of the long run: faults, and what takes too long for every change. A file is in one run
 * whole.
 */
const LONG = ['test/faults/**/*.test.ts', 'test/**/*.long.test.ts'];
/** Random tests, which `npm run test:faults` runs too, with LONG_RUN: they try more then. */
const RANDOM = ['test/interleavings/*.test.ts', 'test/lifecycle/*.test.ts'];

// Vite would take graphql's ES modules, and Node gives the packages that use it the others: two
// copies do not know each other.
const resolve = { alias: [{ find: /^graphql$/, replacement: 'graphql/index.js' }] };

const common: TestProjectInlineConfiguration['test'] = {
  chaiConfig: { truncateThreshold: 1_000 }, // a report has the message of an assertion, and not its diff
  globalSetup: ['test/support/global-setup.ts'],
  setupFiles: ['test/support/timers.ts'],
  testTimeout: 120_000,
  hookTimeout: 120_000,
  expect: { poll: { timeout: 20_000 } }, // a deadline: on a busy machine a second is none
};

export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        // `npm test`. Its files wait for servers and containers for half of their time, and share
        // their modules: they clean up after themselves.
        resolve,
        test: {
          ...common,
          name: 'quick',
          include: ['test/**/*.test.ts'],
          exclude: LONG,
          isolate: false,
          maxWorkers: 4,
          sequence: { groupOrder: 0 },
        },
      },
      {
        // `npm run test:faults`. They kill servers that share two cores: more at once only makes
        // deadlines slip.
        resolve,
        test: {
          ...common,
          name: 'faults',
          include: [...LONG, ...(process.env.LONG_RUN === undefined ? [] : RANDOM)],
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
