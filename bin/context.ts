import type { Logger } from 'pino';
import type { OutageLog } from '../platform/outage-log.ts';
import type { Settings } from '../platform/settings/parse.ts';
import type { Shutdown } from './shutdown.ts';

/** The context of every command. */
export interface CommandContext {
  settings: Settings;
  log: Logger;
  outages: OutageLog;
  shutdown: Shutdown;
  version: string;
}
