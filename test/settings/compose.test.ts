import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { writeComposeFiles } from '../../dev/services/compose-files.ts';
import { parseSettings } from '../../platform/settings/parse.ts';
import { readSettingFiles } from '../../platform/settings/setting-files.ts';
import { SETTINGS } from '../../platform/settings/settings.ts';

describe('the files of docker-compose.yml', () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'chronoverse-compose-'));
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  const read = (name: string) => readFileSync(join(dir, name), 'utf8').trim();
  const modeOf = (name: string) => statSync(join(dir, name)).mode & 0o777;
  const compose = readFileSync('docker-compose.yml', 'utf8');

  test('are created once, in a folder closed to other users, and contain valid settings', async () => {
    expect(await writeComposeFiles(dir)).toContain('.secrets/secret_key');
    expect([modeOf('.secrets'), modeOf('.env'), modeOf('.secrets/secret_key')]).toEqual([0o700, 0o600, 0o444]);
    const before = readdirSync(join(dir, '.secrets')).map((name) => read(`.secrets/${name}`));
    expect(await writeComposeFiles(dir)).toEqual([]);
    expect(readdirSync(join(dir, '.secrets')).map((name) => read(`.secrets/${name}`))).toEqual(before);
    const handedOver = [...compose.matchAll(/^ {4}([A-Z_]+_FILE): \/run\/secrets\/(\S+)$/gm)];
    expect(handedOver).toHaveLength(5);
    const env = Object.fromEntries(
      handedOver.map(([, setting, name]) => [setting, join(dir, '.secrets', String(name))]),
    );
    const { settings } = parseSettings(readSettingFiles(env));
    expect(settings.secretKey).toHaveLength(32);
    expect(settings.databaseUrl).toBe(
      `postgres://chronoverse:${read('.secrets/postgres_password')}@postgres:5432/chronoverse`,
    );
    expect(settings.redisUrl).toContain(read('.secrets/redis_password'));
    expect(read('.secrets/redis.conf')).toBe(`requirepass "${read('.secrets/redis_password')}"`);
  });

  test('keep the secrets of an installation whose .env has them', async () => {
    writeFileSync(
      join(dir, '.env'),
      `POSTGRES_PASSWORD=p\nREDIS_PASSWORD=r\nSECRET_KEY=${'ab'.repeat(32)}\nDOCKER_GID=5\n`,
    );
    await writeComposeFiles(dir);
    expect([read('.secrets/postgres_password'), read('.secrets/redis_password'), read('.secrets/secret_key')]).toEqual([
      'p',
      'r',
      'ab'.repeat(32),
    ]);
    expect(read('.env')).toContain('DOCKER_GID=5');
  });

  test('include all that docker-compose.yml names, and no secret is in it or on a command line', async () => {
    const made = await writeComposeFiles(dir);
    const named = [...compose.matchAll(/\{ file: (\.secrets\/\S+) \}/g)].map(([, name]) => name);
    expect(named.toSorted()).toEqual(made.filter((name) => name.startsWith('.secrets/')).toSorted());
    expect(compose).not.toMatch(/\$\{[A-Z_]*(PASSWORD|SECRET|KEY)\b/);
    expect(compose).not.toContain('--requirepass');
  });

  test('pass every setting to every process, those that Compose decides apart', () => {
    const [, block = ''] = /environment: &settings\n([\s\S]*?)\n {2}secrets:/.exec(compose) ?? [];
    const given = [...block.matchAll(/^ {4}([A-Z_]+):/gm)].map(([, name = '']) => name.replace(/_FILE$/, ''));
    const decided = ['PORT', 'HOST', 'DOCKER_HOST', 'DATA_DIR', 'DEMO_IMAGE', 'ALERT_WEBHOOK'];
    expect([...given, ...decided].toSorted()).toEqual(Object.keys(SETTINGS).toSorted());
    for (const [, name, from] of block.matchAll(/^ {4}([A-Z_]+): "\$\{([A-Z_]+):-/gm)) expect(from).toBe(name);
    // What is absent in .env comes as an empty text, which counts as absent.
    const empty = Object.fromEntries(given.map((name) => [name, '']));
    expect(parseSettings(readSettingFiles(empty)).settings).toEqual(parseSettings({}).settings);
  });

  test('take over the settings of a chronoverse.env, which an earlier version read', async () => {
    writeFileSync(join(dir, 'chronoverse.env'), '# mine\nGRAPHIQL=false\nLOG_LEVEL=debug\n');
    // Without a newline at its end.
    writeFileSync(join(dir, '.env'), 'DOCKER_GID=5\nLOG_LEVEL=warn');
    expect(await writeComposeFiles(dir)).toContain('.env');
    expect(read('.env')).toBe('DOCKER_GID=5\nLOG_LEVEL=warn\nGRAPHIQL=false');
    expect(readdirSync(dir)).toContain('chronoverse.env.old');
    expect(readdirSync(dir)).not.toContain('chronoverse.env');
  });
});
