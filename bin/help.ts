import { rangeOf, type Setting } from '../platform/settings/setting.ts';
import { SETTINGS } from '../platform/settings/settings.ts';

const NAME_WIDTH = 27;

/** The text of `--help`. */
export function help(): string {
  return `Chronoverse runs workflows on time, keeps every line they print, and shows you live what happens.

  chronoverse up              everything in one process: the api and all workers, on embedded parts unless settings name real ones
  chronoverse api             the GraphQL server only
  chronoverse worker NAME...  one or more of scheduling, workflow, execution, joblogs in one process
  chronoverse migrate         migrates the database to this version, then ends
  chronoverse rotate-secrets  encrypts all secrets with the present SECRET_KEY, then ends; SECRET_KEYS_OLD has the former keys
  chronoverse doctor          says which settings are unsafe and what a container on the engine reaches, then ends; with 1 if something is unsafe
  chronoverse users ...       manages accounts in the database, also while the server runs; type the password, or send it on standard input:
                              list [--json], create EMAIL [--admin], set-password EMAIL, disable EMAIL [--terminate], enable EMAIL
  chronoverse demo [--once]   up with two example workflows, whose output it shows; --once ends when they have ended
  chronoverse --version       prints the version

Settings are environment variables:

${Object.entries(SETTINGS)
  .map(([name, setting]) => describe(name, setting))
  .join('\n')}

Exit code 2 means that the command or a setting is wrong; the message says how. 1 means that something failed.
`;
}

function describe(name: string, setting: Setting<unknown>): string {
  const range = rangeOf(setting);
  const limits = range === undefined ? '' : ` Range: ${range}.`;
  return `  ${name.padEnd(NAME_WIDTH)} ${setting.means}\n${' '.repeat(NAME_WIDTH + 3)}Default: ${defaultOf(setting)}.${limits}`;
}

function defaultOf(setting: Setting<unknown>): string {
  return setting.defaultMeans ?? (setting.default || 'empty');
}
