import { appendFileSync } from 'node:fs';
import { inject } from 'vitest';

/**
 * Real parts for tests. `npm run services` starts them and its `env` names them. Tests that need a
 * missing part are skipped, and the last lines of the run list them. If CHRONOVERSE_TEST_REQUIRE
 * names the part, the run fails instead.
 */
export const SETTING = {
  postgres: 'DATABASE_URL',
  kafka: 'KAFKA_BROKERS',
  redis: 'REDIS_URL',
  docker: 'DOCKER_HOST',
} as const;
export type Part = keyof typeof SETTING;

/**
 * The address of the part, or undefined if it is missing. `untested` says what is then left
 * untested.
 */
export function requirePart(part: Part, untested: string): string | undefined {
  const value = process.env[SETTING[part]];
  if (value !== undefined && value !== '') return value;
  reportMissing(`${part} (${SETTING[part]} is not set)`, untested, part);
  return undefined;
}

/**
 * Notes what this machine lacks, for the list at the end of the run. Throws if
 * CHRONOVERSE_TEST_REQUIRE has its `name`.
 */
export function reportMissing(what: string, untested: string, name?: Part | 'opensmtpd'): void {
  const required = (process.env.CHRONOVERSE_TEST_REQUIRE ?? '').split(',');
  if (name !== undefined && required.includes(name))
    throw new Error(`CHRONOVERSE_TEST_REQUIRE asks for what is missing: ${what}.`);
  appendFileSync(inject('missingParts'), `${JSON.stringify([what, untested])}\n`);
}
