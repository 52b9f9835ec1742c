import { defineConfig } from 'vitest/config';

export default defineConfig({
  // Vite would take graphql's ES modules, and Node gives the packages that use it the others: two copies do not know each other.
  resolve: { alias: [{ find: /^graphql$/, replacement: 'graphql/index.js' }] },
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    testTimeout: 60_000,
    hookTimeout: 90_000,
    // Real servers and spawned processes share two cores: more files at once only makes deadlines slip.
    maxWorkers: 2,
  },
});
