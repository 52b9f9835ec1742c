/**
 * Real parts for tests: `npm run services` starts them, its `env` names them. A missing one skips what needs it and says
 * so, unless CHRONOVERSE_TEST_REQUIRE names it: then the run fails.
 */
const SETTING = {
  postgres: 'DATABASE_URL',
  kafka: 'KAFKA_BROKERS',
  redis: 'REDIS_URL',
  docker: 'DOCKER_HOST',
} as const;
export type Part = keyof typeof SETTING;

/** Where the part is, or undefined when it is missing. `untested` tells what that leaves untested. */
export function requirePart(part: Part, untested: string): string | undefined {
  const value = process.env[SETTING[part]];
  if (value !== undefined && value !== '') return value;
  const required = (process.env.CHRONOVERSE_TEST_REQUIRE ?? '').split(',');
  if (required.includes(part))
    throw new Error(`${SETTING[part]} is not set, and CHRONOVERSE_TEST_REQUIRE asks for it.`);
  console.warn(`${part} is missing (${SETTING[part]} is not set), which leaves untested: ${untested}`);
  return undefined;
}
