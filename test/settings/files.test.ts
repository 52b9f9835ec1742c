import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { type Environment, parseSettings, SettingsError } from '../../platform/settings/parse.ts';
import { readSettingFiles } from '../../platform/settings/setting-files.ts';
import { SETTINGS } from '../../platform/settings/settings.ts';

const folder = mkdtempSync(join(tmpdir(), 'chronoverse-settings-'));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string): string {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
}

function problemsIn(env: Environment): string[] {
  try {
    readSettingFiles(env);
  } catch (error) {
    if (error instanceof SettingsError) return error.problems;
    throw error;
  }
  return [];
}

describe('a setting NAME', () => {
  test('has the content of the file that NAME_FILE names, without a final newline, for every setting', () => {
    for (const [name, { example }] of Object.entries(SETTINGS)) {
      for (const end of ['', '\n', '\r\n']) {
        expect(readSettingFiles({ [`${name}_FILE`]: file(name, example + end) })).toEqual({ [name]: example });
      }
    }
    const { settings } = parseSettings(readSettingFiles({ PORT_FILE: file('port', '4321\n') }));
    expect(settings.port).toBe(4321);
  });

  test('counts as absent if its file or NAME_FILE is empty', () => {
    const { settings } = parseSettings(readSettingFiles({ PORT_FILE: file('empty', ''), REDIS_URL_FILE: '' }));
    expect([settings.port, settings.redisUrl]).toEqual([4000, undefined]);
  });

  test('is refused if both are set or the file cannot be read: all at once, without showing values', () => {
    expect(
      problemsIn({
        SECRET_KEY: 'a secret',
        SECRET_KEY_FILE: file('key', 'another secret'),
        REDIS_URL_FILE: join(folder, 'nowhere'),
        DATABASE_URL_FILE: folder,
        KAFKA_SASL_PASSWORD_FILE: file('long', 'x'.repeat(1024 * 1024 + 1)),
      }),
    ).toEqual([
      `DATABASE_URL_FILE is "${folder}", which is not a file.`,
      `REDIS_URL_FILE is "${join(folder, 'nowhere')}", which does not exist.`,
      `KAFKA_SASL_PASSWORD_FILE is "${join(folder, 'long')}", which has 1048577 bytes: a setting has 1048576 at most.`,
      'SECRET_KEY and SECRET_KEY_FILE are both set: set one of them.',
    ]);
  });

  test('for TLS to a Docker engine may come from the folder that the docker command uses', () => {
    for (const name of ['ca', 'cert', 'key']) file(`${name}.pem`, name);
    const DOCKER_CERT_PATH = folder;
    const of = { DOCKER_TLS_CA: 'ca', DOCKER_TLS_CERT: 'cert', DOCKER_TLS_KEY: 'key' };
    expect(readSettingFiles({ DOCKER_CERT_PATH, DOCKER_HOST: 'tcp://engine:2376' })).toMatchObject(of);
    const own = { DOCKER_CERT_PATH, DOCKER_HOST: 'tcp://engine:2376', DOCKER_TLS_CA_FILE: file('own.pem', 'own') };
    expect(readSettingFiles(own)).toMatchObject({ ...of, DOCKER_TLS_CA: 'own' });
    expect(readSettingFiles({ ...own, DOCKER_TLS_CA_FILE: '', DOCKER_TLS_CA: 'set' })).toMatchObject({
      ...of,
      DOCKER_TLS_CA: 'set',
    });
    expect(readSettingFiles({ DOCKER_CERT_PATH, DOCKER_HOST: 'unix:///var/run/docker.sock' })).not.toMatchObject(of);
  });
});
