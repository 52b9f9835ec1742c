import type { Environment } from '../platform/settings/parse.ts';
import type { SettingName } from '../platform/settings/settings.ts';
import type { Command } from './command-line.ts';

/**
 * The settings that `command` cannot do without. Separate processes meet in real servers. Many
 * processes share a real database, and all of them need the same SECRET_KEY.
 */
export function requiredSettings(command: Command, env: Environment): SettingName[] {
  switch (command.name) {
    case 'api':
    case 'worker':
      return ['DATABASE_URL', 'KAFKA_BROKERS', 'REDIS_URL', 'SECRET_KEY'];
    case 'up':
    case 'demo':
    case 'rotate-secrets':
      return env.DATABASE_URL ? ['SECRET_KEY'] : [];
    default:
      return [];
  }
}
