import { describe, expect, test } from 'vitest';
import { parseSettings } from '../../platform/settings/parse.ts';

describe('a misspelt setting', () => {
  test.each([
    ['DATABASE_ULR', 'DATABASE_URL'],
    ['KAFKA_BROKER', 'KAFKA_BROKERS'],
    ['HEARTBEATS_ALLOW', 'HEARTBEAT_ALLOW'],
    ['PROT', 'PORT'],
    ['log_level', 'LOG_LEVEL'],
    ['DELETED_RETENTION_DAY', 'DELETED_RETENTION_DAYS'],
  ])('%s leads to a warning that names %s', (wrong, right) => {
    expect(parseSettings({ [wrong]: 'x' }).warnings).toEqual([
      `${wrong} is no setting and is not used: did you mean ${right}?`,
    ]);
  });

  test('is not reported for the variables of other programs', () => {
    const others = [
      'PATH',
      'HOME',
      'HOSTNAME',
      'PWD',
      'SHELL',
      'LANG',
      'PGPORT',
      'LOGNAME',
      'REDIS_PORT',
      'DOCKER_CONFIG',
    ];
    const env = Object.fromEntries(others.map((name) => [name, 'x']));
    expect(parseSettings(env).warnings).toEqual([]);
  });

  test('is not reported for correct names', () => {
    expect(parseSettings({ PORT: '1', HOST: 'localhost' }).warnings).toEqual([]);
  });
});
