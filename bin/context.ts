import type { Logger } from 'pino';
import type { Settings } from '../platform/settings/parse.ts';
import type { Shutdown } from './shutdown.ts';

/** The context of every command. */
export interface CommandContext {
  settings: Settings;
  log: Logger;
  shutdown: Shutdown;
  version: string;
}
