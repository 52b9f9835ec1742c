import type { Logger } from 'pino';
import type { Settings } from '../platform/config.ts';
import type { Closing } from './closing.ts';

/** What every command is given. */
export interface CommandContext {
  settings: Settings;
  log: Logger;
  closing: Closing;
  version: string;
}
