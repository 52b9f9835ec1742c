import { randomBytes } from 'node:crypto';
import { appendFile, mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno, isMissing } from './state.ts';

const PASSWORD_BYTES = 24;
const SECRET_KEY_BYTES = 32;
const SOCKET = '/var/run/docker.sock';
/**
 * The files that docker-compose.yml mounts into its containers. Only the owner can enter the
 * folder; the files are readable for the users of the containers.
 */
const SECRETS_DIR = '.secrets';
const DIR_MODE = 0o700;
const FILE_MODE = 0o444;

/**
 * Writes `.env` and `.secrets/` for docker-compose.yml into `dir`, and returns the names of the
 * files that it wrote. Existing files stay unchanged. Passwords of an older `.env` are kept,
 * because the existing data needs them. Settings of `chronoverse.env`, which Compose read before,
 * move to `.env`, and that file becomes `chronoverse.env.old`.
 */
export async function writeComposeFiles(dir: string): Promise<string[]> {
  const old = parseEnv(await readFile(join(dir, '.env'), 'utf8').catch(emptyWhereMissing));
  const secrets = join(dir, SECRETS_DIR);
  await mkdir(secrets, { recursive: true, mode: DIR_MODE });
  const secretOf = async (name: string, setting: string, bytes: number) => {
    const kept = (await readFile(join(secrets, name), 'utf8').catch(emptyWhereMissing)).trim();
    // Hex needs no quoting, here or in a URL.
    return kept || old.get(setting) || randomBytes(bytes).toString('hex');
  };
  const postgres = await secretOf('postgres_password', 'POSTGRES_PASSWORD', PASSWORD_BYTES);
  const redis = await secretOf('redis_password', 'REDIS_PASSWORD', PASSWORD_BYTES);
  const socket = await stat(SOCKET).catch(() => undefined);
  const files = {
    [`${SECRETS_DIR}/postgres_password`]: postgres,
    [`${SECRETS_DIR}/database_url`]: `postgres://chronoverse:${encodeURIComponent(postgres)}@postgres:5432/chronoverse`,
    [`${SECRETS_DIR}/redis_password`]: redis,
    [`${SECRETS_DIR}/redis.conf`]: `requirepass "${redis}"`,
    [`${SECRETS_DIR}/redis_url`]: `redis://:${encodeURIComponent(redis)}@redis:6379/0`,
    [`${SECRETS_DIR}/secret_key`]: await secretOf('secret_key', 'SECRET_KEY', SECRET_KEY_BYTES),
    [`${SECRETS_DIR}/secret_keys_old`]: old.get('SECRET_KEYS_OLD') ?? '',
    [`${SECRETS_DIR}/smtp_url`]: '', // for the operator to fill
    '.env': [
      '# Settings of Chronoverse, NAME=value a line: docs/operate/settings.md has them all.',
      `# The group that may use ${SOCKET}: the workflow worker joins it.`,
      `DOCKER_GID=${socket?.gid ?? 0}`,
    ].join('\n'),
  };
  const made: string[] = [];
  for (const [name, content] of Object.entries(files)) {
    const mode = name.startsWith(SECRETS_DIR) ? FILE_MODE : 0o600;
    if (await writeNew(join(dir, name), `${content}\n`, mode)) made.push(name);
  }
  if (await moveSettings(dir)) made.push('.env');
  return made;
}

async function moveSettings(dir: string): Promise<boolean> {
  const former = join(dir, 'chronoverse.env');
  const settings = parseEnv(await readFile(former, 'utf8').catch(emptyWhereMissing));
  const present = parseEnv(await readFile(join(dir, '.env'), 'utf8'));
  const moved = [...settings].filter(([name]) => !present.has(name));
  if (settings.size === 0) return false;
  const start = (await readFile(join(dir, '.env'), 'utf8')).endsWith('\n') ? '' : '\n';
  await appendFile(join(dir, '.env'), start + moved.map(([name, value]) => `${name}=${value}\n`).join(''));
  await rename(former, `${former}.old`);
  return moved.length > 0;
}

async function writeNew(file: string, content: string, mode: number): Promise<boolean> {
  try {
    await writeFile(file, content, { mode, flag: 'wx' });
    return true;
  } catch (error) {
    if (isErrno(error, 'EEXIST')) return false;
    throw error;
  }
}

function parseEnv(text: string): Map<string, string> {
  const pairs = [...text.matchAll(/^([A-Z_]+)=(.*)$/gm)].map(
    ([, name = '', value = '']) => [name, value.trim()] as const,
  );
  return new Map(pairs);
}

function emptyWhereMissing(error: unknown): string {
  if (isMissing(error)) return '';
  throw error;
}
