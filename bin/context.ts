import type { Logger } from 'pino';
import type { Settings } from '../platform/settings/parse.ts';
import type { Shutdown } from './shutdown.ts';

/** What every command is given. */
export interface CommandContext {
  settings: Settings;
  log: Logger;
  shutdown: Shutdown;
  version: string;
}
