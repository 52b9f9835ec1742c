import type { Setting } from '../platform/settings/setting.ts';
import { SETTINGS } from '../platform/settings/settings.ts';

const NAME_WIDTH = 24;

/** What `--help` prints. */
export function help(): string {
  const settings: [string, Setting<unknown>][] = Object.entries(SETTINGS);
  return `Chronoverse runs workflows on time, keeps every line they print and tells you live what happens.

  chronoverse up              everything in one process: the api and all workers, on embedded parts unless settings name real ones
  chronoverse api             the GraphQL server alone
  chronoverse worker NAME...  one or several of scheduling, workflow, execution, joblogs in a process of their own
  chronoverse migrate         brings the database to this program's version, and ends
  chronoverse rotate-secrets  encrypts all secrets under the present SECRET_KEY, and ends; SECRET_KEYS_OLD names the former ones
  chronoverse doctor          says which settings are unsafe and what a container on the engine reaches, and ends; with 1 when something is unsafe
  chronoverse users ...       the accounts, in the database alone, while the server runs or not; a password is typed, or sent on standard input:
                              list [--json], create EMAIL [--admin], set-password EMAIL, disable EMAIL [--terminate], enable EMAIL
  chronoverse demo [--once]   up, with two example workflows whose output it follows; --once ends when they have
  chronoverse --version       which version this is

Settings are environment variables:

${settings.map(([name, setting]) => `  ${name.padEnd(NAME_WIDTH)} ${setting.means}\n${' '.repeat(NAME_WIDTH + 3)}Default: ${defaultOf(setting)}.`).join('\n')}

An exit code of 2 means that the command or a setting is wrong, and the sentence printed says how; 1 that something failed.
`;
}

function defaultOf(setting: Setting<unknown>): string {
  return setting.defaultMeans ?? (setting.default || 'empty');
}
