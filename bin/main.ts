import { readFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import { DataDirUnusable } from '../platform/data-dir.ts';
import { createLogger } from '../platform/log.ts';
import { messageOf } from '../platform/log-line.ts';
import { createOutageLog } from '../platform/outage-log.ts';
import { parseSettings, SettingsError } from '../platform/settings/parse.ts';
import { readSettingFiles } from '../platform/settings/setting-files.ts';
import { type Command, parseCommand } from './command-line.ts';
import type { CommandContext } from './context.ts';
import { help } from './help.ts';
import { requiredSettings } from './required-settings.ts';
import { createShutdown } from './shutdown.ts';
import { handleSignals } from './signals.ts';
import { PartUnreachable, StartupError } from './startup-error.ts';

try {
  await run(parseCommand(process.argv.slice(2)));
} catch (error) {
  refuse(error);
}

async function run(command: Command): Promise<void> {
  if (command.name === 'help') return void process.stdout.write(help(command.topic));
  if (command.name === 'version') return void process.stdout.write(`${await version()}\n`);
  const env = readSettingFiles(process.env);
  const { settings, warnings } = parseSettings(env, requiredSettings(command, env));
  // The answers of these are on standard output.
  const outages = createOutageLog();
  const log = createLogger(settings, { onStderr: ['users', 'backup', 'restore'].includes(command.name), outages });
  for (const warning of warnings) log.warn(warning);
  const shutdown = createShutdown(log);
  const signals = handleSignals(shutdown, log);
  try {
    const context = { settings, log, outages, shutdown, version: await version() };
    const exitCode = await start(command, context);
    if (exitCode === undefined) return; // it goes on until a signal arrives
    await shutdown.close();
    if (!signals.stopping()) process.exit(exitCode);
  } catch (error) {
    if (signals.stopping()) return; // the shutdown interrupted the opening of the parts
    await shutdown.close();
    refuse(error, log);
  }
}

/**
 * Loads only what the command needs. Resolves when the command is ready. If the command ends by
 * itself, the result is its exit code.
 */
async function start(command: Exclude<Command, { name: 'help' | 'version' }>, context: CommandContext) {
  switch (command.name) {
    case 'up':
      return (await import('./up.ts')).runUp(context);
    case 'api':
      return (await import('./standalone.ts')).runApi(context);
    case 'worker':
      return (await import('./standalone.ts')).runWorkers(context, command.workers);
    case 'migrate':
      return (await import('./migrate.ts')).runMigrate(context);
    case 'rotate-secrets':
      return (await import('./rotate-secrets.ts')).runRotateSecrets(context, command);
    case 'users':
      return (await import('./users.ts')).runUsers(context, command.action);
    case 'doctor':
      return (await import('./doctor.ts')).runDoctor(context);
    case 'backup':
      return (await import('./backup.ts')).runBackup(context, command.file);
    case 'restore':
      return (await import('./restore.ts')).runRestore(context, command.file);
    case 'demo':
      return (await import('./demo.ts')).runDemo(context, command);
  }
}

/** Prints a person's mistake as a sentence, and logs any other error with its stack. */
function refuse(error: unknown, log?: Logger): never {
  if (error instanceof SettingsError || error instanceof StartupError || error instanceof DataDirUnusable) {
    process.stderr.write(`${error.message}\n`);
    process.exit(2);
  }
  if (error instanceof PartUnreachable) {
    process.stderr.write(`${error.message}\n`);
    process.exit(1);
  }
  if (log === undefined) throw error;
  log.fatal({ err: error }, `Not started: ${error instanceof Error ? messageOf(error) : String(error)}`);
  process.exit(1);
}

/** The path is right for bin/ and for the bundle in dist/. */
async function version(): Promise<string> {
  const text = await readFile(new URL('../package.json', import.meta.url), 'utf8');
  return String(JSON.parse(text).version);
}
