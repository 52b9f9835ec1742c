import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Environment, SettingsError } from './parse.ts';
import { SETTINGS } from './settings.ts';

const SUFFIX = '_FILE';
const FILE_BYTES_MAX = 1024 * 1024;

/**
 * Replaces each NAME_FILE in the environment by NAME with the content of the file. Containers
 * receive their secrets as files. A newline at the end is ignored, and an empty file counts as
 * absent. Throws a SettingsError that lists every problem.
 */
export function readSettingFiles(env: Environment): Environment {
  const problems: string[] = [];
  const files = { ...env, ...dockerFiles(env) };
  const read: Environment = { ...env };
  for (const name of Object.keys(SETTINGS)) {
    const path = files[name + SUFFIX];
    delete read[name + SUFFIX];
    if (!path) continue;
    if (env[name]) {
      problems.push(`${name} and ${name + SUFFIX} are both set: set one of them.`);
      continue;
    }
    try {
      read[name] = contentOf(path);
    } catch (error) {
      problems.push(
        `${name + SUFFIX} is ${JSON.stringify(path)}, which ${error instanceof Error ? error.message : error}.`,
      );
    }
  }
  if (problems.length > 0) throw new SettingsError(problems);
  return read;
}

/** The docker command finds its TLS files in DOCKER_CERT_PATH. Explicit settings win. */
function dockerFiles(env: Environment): Environment {
  const { DOCKER_CERT_PATH: folder, DOCKER_HOST: host } = env;
  if (!folder || !host || host.startsWith('unix:')) return {};
  const names = { DOCKER_TLS_CA: 'ca.pem', DOCKER_TLS_CERT: 'cert.pem', DOCKER_TLS_KEY: 'key.pem' };
  const files = Object.entries(names)
    .filter(([name, file]) => !env[name] && !env[name + SUFFIX] && existsSync(join(folder, file)))
    .map(([name, file]) => [name + SUFFIX, join(folder, file)]);
  return Object.fromEntries(files);
}

function contentOf(path: string): string {
  const { size } = statOf(path);
  if (size > FILE_BYTES_MAX) throw new Error(`has ${size} bytes: a setting has ${FILE_BYTES_MAX} at most`);
  return asRead(() => readFileSync(path, 'utf8')).replace(/\r?\n$/, '');
}

function statOf(path: string) {
  const found = asRead(() => statSync(path));
  if (!found.isFile()) throw new Error('is not a file');
  return found;
}

function asRead<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    const words: Record<string, string> = { ENOENT: 'does not exist', EACCES: 'this user may not read' };
    throw new Error(words[code] ?? `cannot be read (${code})`);
  }
}
