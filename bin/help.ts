import { rangeOf, type Setting } from '../platform/settings/setting.ts';
import { SETTINGS } from '../platform/settings/settings.ts';
import { HELP_TOPICS, type HelpTopic, WORKERS } from './command-line.ts';

const NAME_WIDTH = 27;
const USAGE_WIDTH = 28;

const COMMANDS = {
  up: [
    'chronoverse up',
    'everything in one process: the api and all workers, on embedded parts unless settings name real ones',
  ],
  api: ['chronoverse api', 'the GraphQL server only'],
  worker: ['chronoverse worker NAME...', `one or more of ${WORKERS.join(', ')} in one process`],
  migrate: ['chronoverse migrate', 'migrates the database to this version, then ends'],
  'rotate-secrets': [
    'chronoverse rotate-secrets',
    'encrypts all secrets with the present SECRET_KEY, then ends; SECRET_KEYS_OLD has the former keys; --lost-keys gives up what cannot be read',
  ],
  doctor: [
    'chronoverse doctor',
    'says which settings are unsafe and what a container on the engine reaches, then ends; with 1 if something is unsafe',
  ],
  users: [
    'chronoverse users ...',
    `manages accounts in the database, also while the server runs; type the password, or send it on standard input:
${' '.repeat(USAGE_WIDTH + 2)}list [--json], create EMAIL [--admin], set-password EMAIL, disable EMAIL [--terminate], enable EMAIL`,
  ],
  backup: [
    'chronoverse backup FILE',
    'writes the database into a new file, also while the server runs; the key of the secrets is not in it',
  ],
  restore: [
    'chronoverse restore FILE',
    'loads a backup into an empty database: a new one in DATA_DIR, or the one that DATABASE_URL names',
  ],
  demo: [
    'chronoverse demo [--once]',
    'up with two example workflows, whose output it shows; --once ends when they have ended',
  ],
  version: ['chronoverse version', 'prints the version'],
} as const;

const ONLY_DATABASE = /^(DATABASE_|DATA_DIR$|LOG_LEVEL$|LOG_FORMAT$)/;
const ONLY_WORKERS =
  /^(MAX_BUILD_|CONTAINERS_MAX$|RUNNING_|HEARTBEAT_ALLOW$|REGISTRY_ALLOW$|LOCAL_IMAGES$|BUILD_CGROUP_PARENT$|.*_RETENTION_DAYS$)/;
const ONLY_API =
  /^(PORT|HOST|ALLOWED_ORIGINS|GRAPHIQL|INTROSPECTION|TRUST_PROXY|SIGN_UP|API_TOKEN_DAYS_MAX|MUTATIONS_.*|CONNECTIONS_.*|ANONYMOUS_.*|WEBSOCKETS_.*|STREAMS_.*)$/;
const ONLY_DEMO = /^(DEMO_IMAGE|ALERT_WEBHOOK)$/;
const ONLY_ONE_PROCESS = /^(DATA_DIR|DEMO_IMAGE|ALERT_WEBHOOK)$/;

/** Whether the command reads the setting. Its help leaves out those that it ignores. */
function uses(command: HelpTopic, name: string): boolean {
  switch (command) {
    case 'api':
      return !ONLY_ONE_PROCESS.test(name) && (!ONLY_WORKERS.test(name) || name === 'LOG_RETENTION_DAYS');
    case 'worker':
      return !ONLY_ONE_PROCESS.test(name) && !ONLY_API.test(name);
    case 'migrate':
    case 'backup':
    case 'restore':
    case 'users':
      return ONLY_DATABASE.test(name);
    case 'rotate-secrets':
      return ONLY_DATABASE.test(name) || name.startsWith('SECRET_KEY');
    case 'version':
      return false;
    case 'up':
      return !ONLY_DEMO.test(name);
    default:
      return true;
  }
}

/** The text of `--help`, or of `COMMAND --help` with the settings that the command reads. */
export function help(topic?: HelpTopic): string {
  const names = topic === undefined ? HELP_TOPICS : [topic];
  const settings = Object.entries<Setting<unknown>>(SETTINGS).filter(
    ([name]) => topic === undefined || uses(topic, name),
  );
  const about = 'Chronoverse runs workflows on time, keeps every line they print, and shows you live what happens.\n\n';
  return `${topic === undefined ? about : ''}${names.map(describeCommand).join('\n')}

${settings.length === 0 ? '' : `Settings are environment variables:\n\n${settings.map(([name, setting]) => describe(name, setting)).join('\n')}\n\n`}\
Exit code 2 means that the command or a setting is wrong; the message says how. 1 means that something failed.
`;
}

function describeCommand(name: HelpTopic): string {
  const [usage, does] = COMMANDS[name];
  return `  ${usage.padEnd(USAGE_WIDTH)}${does}`;
}

function describe(name: string, setting: Setting<unknown>): string {
  const range = rangeOf(setting);
  const limits = range === undefined ? '' : ` ${range.includes(' to ') ? 'Range' : 'One of'}: ${range}.`;
  return `  ${name.padEnd(NAME_WIDTH)} ${setting.means}\n${' '.repeat(NAME_WIDTH + 3)}Default: ${defaultOf(setting)}.${limits}`;
}

function defaultOf(setting: Setting<unknown>): string {
  return setting.defaultMeans ?? (setting.default || 'empty');
}
