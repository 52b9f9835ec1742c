import { describe, expect, test } from 'vitest';
import { parseDatabaseUrl, shownDatabase } from '../../platform/postgres/address.ts';
import { parseSettings, SettingsError } from '../../platform/settings/parse.ts';

function problemOf(name: string, text: string): string | undefined {
  try {
    parseSettings({ [name]: text });
    return undefined;
  } catch (error) {
    if (error instanceof SettingsError) return error.message;
    throw error;
  }
}

describe('DATABASE_URL', () => {
  test.each([
    ['postgres://', /with a host/],
    ['postgres:///db', /with a host/],
    ['postgres:foo', /begins with postgres:\/\//],
    ['postgres:5432/db', /begins with postgres:\/\//],
    ['jdbc:postgresql://a/b', /begins with postgres:\/\//],
    ['postgres://u:pa%ss@h/db', /% itself is written as %25/],
    ['postgres://u:p#w@h:1/db', /# \[ \] @ % of its user and password written as/],
    ['postgres://u:p/w@h:1/db', /: \/ \? # \[ \] @ % of its user and password written as/],
    ['postgres://u:12/w@h:1/db', /of its user and password written as/],
    ['postgres://u:12?w@h:1/db', /of its user and password written as/],
    ['postgres://u:p@h:99999/db', /a port up to 65535/],
    ['postgres://u:p@h1:5432,h2:5432/db', /with one host/],
    ['postgres://u:p@h1,h2/db', /with one host/],
    ['postgres://u:p@h/db?ssl=true', /sslmode is one of .* instead of ssl,/],
    ['postgres://u:p@/db', /a URL like postgres:/],
    ['"postgres://u:p@h/db"', /Leave out the quotes/],
  ])('%s is refused with what would be right', (text, sentence) => {
    expect(problemOf('DATABASE_URL', text)).toMatch(sentence);
  });

  test.each([
    ['postgres://u:p@[::1]:6000/db', { host: '::1', port: 6000, user: 'u', password: 'p', database: 'db' }],
    ['postgres://u:p%40%2F@h', { host: 'h', port: 5432, password: 'p@/', database: undefined }],
    ['postgres://u@%2Frun%2Fpostgresql/db', { host: '/run/postgresql', database: 'db' }],
    ['postgres:///db?host=/run/postgresql', { host: '/run/postgresql', user: undefined }],
    ['postgres://u:p@/db?host=/cloudsql/a:b:c', { host: '/cloudsql/a:b:c', user: 'u', password: 'p' }],
    [' postgres://h/db\n', { host: 'h' }],
    ['postgres://h/db?sslmode=require&connect_timeout=5&search_path=a', { session: { search_path: 'a' } }],
  ])('%s is read as libpq reads it', (text, parts) => {
    expect(problemOf('DATABASE_URL', text)).toBeUndefined();
    expect(parseDatabaseUrl(text)).toMatchObject(parts);
  });

  test('is shown without user and password', () => {
    expect(shownDatabase('postgres://u:p@[::1]/db')).toBe('[::1]:5432/db');
    expect(shownDatabase('postgres://u:p@/db?host=/run')).toBe('/run/.s.PGSQL.5432, database db');
  });
});

describe('other addresses', () => {
  test.each([
    ['REDIS_URL', 'redis:6379', /begins with redis:\/\//],
    ['REDIS_URL', 'redis://', /with a host/],
    ['REDIS_URL', 'redis://h/abc', /number of a database/],
    ['REDIS_URL', 'redis://:p%zz@h', /written as %25/],
    ['REDIS_URL', 'redis://:p/w@h:1', /written as %3A/],
    ['REDIS_URL', 'redis://:12/w@h:1', /written as %3A/],
    ['REDIS_URL', 'redis://h?commandTimeout=1', /without parameters/],
    ['DOCKER_HOST', 'tcp://h:2375/path', /tcp:\/\/host:port/],
    ['DOCKER_HOST', 'tcp://u:p@h:2375', /tcp:\/\/host:port/],
    ['DOCKER_HOST', 'unix:/var/run/docker.sock', /begins with unix:\/\//],
    ['DATA_DIR', '"/var/lib/chronoverse"', /without quotes/],
    ['DATA_DIR', '~/chronoverse', /without quotes, ~/],
    ['DATA_DIR', '$HOME/chronoverse', /without quotes, ~ or \$/],
    ['DATA_DIR', ' ', /path of a folder/],
    ['PORT', '"4000"', /Leave out the quotes or blanks around it\.$/],
    ['SIGN_UP', 'open\r', /Leave out the quotes or blanks around it\.$/],
    ['LOG_LEVEL', "'info'", /Leave out the quotes or blanks around it\.$/],
  ])('%s %s is refused with what would be right', (name, text, sentence) => {
    expect(problemOf(name, text)).toMatch(sentence);
  });

  test.each([
    ['REDIS_URL', 'redis://:p%40@[::1]:6379/15'],
    ['REDIS_URL', 'rediss://h?family=6 '],
    ['DOCKER_HOST', 'tcp://[::1]:2375'],
    ['DATA_DIR', 'C:\\data'],
    ['DATA_DIR', '/a folder/x~y'],
  ])('%s %s is right', (name, text) => {
    expect(problemOf(name, text)).toBeUndefined();
  });
});
