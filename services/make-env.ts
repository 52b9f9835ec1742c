/** `npm run compose:env`: the settings of docker-compose.yml that nobody should make up, in a new `.env`. */
import { randomBytes } from 'node:crypto';
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { checkoutDir, isErrno } from './state.ts';

const PASSWORD_BYTES = 24;
const SECRET_KEY_BYTES = 32;
const SOCKET = '/var/run/docker.sock';

const file = join(checkoutDir, '.env');
const hex = (bytes: number) => randomBytes(bytes).toString('hex'); // needs no quoting, neither here nor in a URL
const socket = await stat(SOCKET).catch(() => undefined);
const lines = [
  '# Made by `npm run compose:env`, read by docker compose. Keep a copy: without SECRET_KEY, secrets in the',
  '# database cannot be read any more.',
  `POSTGRES_PASSWORD=${hex(PASSWORD_BYTES)}`,
  `REDIS_PASSWORD=${hex(PASSWORD_BYTES)}`,
  `SECRET_KEY=${hex(SECRET_KEY_BYTES)}`,
  `# The group that may use ${SOCKET}: the workflow worker joins it.`,
  `DOCKER_GID=${socket?.gid ?? 0}`,
];

try {
  await writeFile(file, `${lines.join('\n')}\n`, { mode: 0o600, flag: 'wx' });
  process.stdout.write(`Wrote ${file} with new secrets. Next: docker compose up --detach --build\n`);
} catch (error) {
  const why = isErrno(error, 'EEXIST')
    ? `${file} is there already and stays as it is: its secrets are those of your data.`
    : `${file} cannot be written: ${String(error)}`;
  process.stderr.write(`${why}\n`);
  process.exitCode = 1;
}
