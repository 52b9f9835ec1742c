import { describe, expect, test } from 'vitest';
import { parsePayload } from '../../domain/payload/input.ts';
import { printPayload } from '../../domain/payload/print.ts';

const LIMITS = { maxJobSeconds: 60, maxResources: { cpus: 2, memoryMb: 256, pids: 100 } };
const json = (document: object) => parsePayload({ json: JSON.stringify({ kind: 'CONTAINER', ...document }) }, LIMITS);
const built = (build: object) => json({ build: { dockerfile: 'FROM alpine:3', ...build } });

describe('the parts of a CONTAINER payload', () => {
  test('mean the same as typed input and as a document, and are printed as they are read', () => {
    const { value } = parsePayload(
      {
        container: {
          build: { dockerfile: 'FROM alpine:3\nCOPY a/b /b', files: [{ path: 'a/b', content: 'x' }] },
          volumes: [
            { name: 'data', path: '/data' },
            { name: 'data', path: '/again', readOnly: true },
          ],
          resources: { cpus: 0.5, memoryMb: 64, pids: 10 },
          network: 'NONE',
        },
      },
      LIMITS,
    );
    const document = {
      build: { dockerfile: 'FROM alpine:3\nCOPY a/b /b', files: [{ path: 'a/b', content: 'x' }] },
      volumes: [
        { name: 'data', path: '/data', read_only: false },
        { name: 'data', path: '/again', read_only: true },
      ],
      resources: { cpus: 0.5, memory_mb: 64, pids: 10 },
      network: 'NONE',
    };
    if (value === undefined) throw new Error('It was refused.');
    expect(json(document).value).toEqual(value);
    expect(JSON.parse(printPayload(value))).toMatchObject({ volumes: [{ name: 'data', path: '/data' }, {}] });
    expect(parsePayload({ json: printPayload(value) }, LIMITS).value).toEqual(value);
  });

  const volume = (name: string, path: string) => ({ image: 'a', volumes: [{ name, path }] });
  const resources = (wanted: object) => ({ image: 'a', resources: wanted });
  test.each<[object, string, string]>([
    [{ image: 'a', build: { dockerfile: 'FROM a' } }, 'build', 'not both'],
    [{ image: 'chronoverse.invalid/workflow/0:1' }, 'image', 'is one that a build has made'],
    [volume('v', '/'), 'volumes.0.path', 'must not be "/"'],
    [volume('v', 'data'), 'volumes.0.path', 'must be absolute'],
    [volume('v', '/a/../etc'), 'volumes.0.path', '".."'],
    [volume('v', '/proc/x'), 'volumes.0.path', '/proc'],
    [volume('/etc', '/data'), 'volumes.0.name', 'it is no path'],
    [volume('../etc', '/data'), 'volumes.0.name', 'it is no path'],
    [volume('a'.repeat(65), '/data'), 'volumes.0.name', '1 to 64'],
    [
      { image: 'a', volumes: [volume('a', '/d'), volume('b', '/d/')].map(({ volumes: [one] }) => one) },
      'volumes.1.path',
      'not to two',
    ],
    [
      { image: 'a', volumes: [{ name: 'v', path: '/v', readonly: true }] },
      'volumes.0.readonly',
      'Did you mean "read_only"?',
    ],
    [resources({ memory_mb: 0 }), 'resources.memory_mb', '6 to 256 MB'],
    [resources({ memory_mb: 257 }), 'resources.memory_mb', '6 to 256 MB'],
    [resources({ cpus: 0 }), 'resources.cpus', '0.01 to 2'],
    [resources({ cpus: 2.5 }), 'resources.cpus', '0.01 to 2'],
    [resources({ pids: 101 }), 'resources.pids', '1 to 100'],
    [resources({ pids: 1.5 }), 'resources.pids', 'whole number'],
    [resources({ memory: 1 }), 'resources.memory', 'memory_mb'],
    [{ image: 'a', network: 'HOST' }, 'network', 'BRIDGE, NONE'],
    [{ image: 'a', volumes: ['data:/data'] }, 'volumes.0', 'must be an object like {"name": "data", "path": "/data"}'],
    [{ image: 'a', volumes: [{ name: 'v', path: '/v', owner: 'node' }] }, 'volumes.0.owner', '"1000:1000"'],
    [{ image: 'a', network_name: 'host' }, 'network_name', 'that the operator has made'],
    [{ image: 'a', network_name: 'backend' }, 'network_name', '(SHARED_NETWORKS): it allows none.'],
    [{ image: 'a', network_name: 'backend', network: 'NONE' }, 'network_name', 'not both'],
    [{ image: 'a', capabilities: ['CAP_CHOWN'] }, 'capabilities.0', 'is no capability of Linux'],
    [{ image: 'a', capabilities: ['CHOWN'] }, 'capabilities', '(CONTAINER_CAPABILITIES): it allows none.'],
    [resources({ shared_memory_mb: 257 }), 'resources.shared_memory_mb', '1 to 256 MB'],
    [{ image: 'a', user: 'a b' }, 'user', '"1000:1000"'],
    [{ image: 'a', user: '4294967295' }, 'user', 'at most 2147483647'],
    [{ image: 'a', stop_signal: 'SIGTRM' }, 'stop_signal', 'Did you mean "SIGTERM"?'],
    [{ image: 'a', stop_signal: 'SIGRTMIN+16' }, 'stop_signal', 'SIGRTMIN to SIGRTMIN+15'],
    [{ image: 'a', stop_grace_seconds: 601 }, 'stop_grace_seconds', '0 to 600'],
    [{ image: 'a', stop_grace_seconds: 0.5 }, 'stop_grace_seconds', 'whole number'],
    [{ build: { dockerfile: 'FROM a', files: ['x'] } }, 'build.files.0', 'must be an object like {"path"'],
    [{ build: 'FROM a' }, 'build', 'must be an object like {"dockerfile"'],
  ])('%j is refused at %s', (document, path, sentence) => {
    const { problems } = json(document);
    expect(problems?.map((problem) => problem.path.join('.'))).toEqual([`json.${path}`]);
    expect(problems?.[0]?.message).toContain(sentence);
    expect(problems?.[0]?.message).toMatch(/[.?]$/);
  });

  test.each([
    '../x',
    'a/../../x',
    '/etc/passwd',
    '',
    'a//b',
    './a',
    'a\\b',
    'Dockerfile',
    'Dockerfile/x',
    'x'.repeat(101),
  ])('a file at %j is refused', (path) => {
    const { problems } = built({ files: [{ path, content: '' }] });
    expect(problems?.map((problem) => problem.path.join('.'))).toEqual(['json.build.files.0.path']);
  });

  test('files must not conflict with each other', () => {
    const at = (...paths: string[]) => built({ files: paths.map((path) => ({ path, content: '' })) }).problems;
    expect(at('a', 'b/a')).toBeUndefined();
    expect(at('a', 'a')?.[0]).toMatchObject({ path: ['json', 'build', 'files', '1', 'path'] });
    expect(at('a', 'a/b')?.[0]?.message).toContain('folder');
    expect(at('a/b', 'a')?.[0]?.message).toContain('folder');
  });

  test('the operator sets how much a payload may request', () => {
    expect(json({ image: 'a', resources: { memory_mb: 256, cpus: 2, pids: 100 } }).problems).toBeUndefined();
    const more = parsePayload(
      { json: '{"kind":"CONTAINER","image":"a","resources":{"memory_mb":512}}' },
      { ...LIMITS, maxResources: { ...LIMITS.maxResources, memoryMb: 512 } },
    );
    expect(more.problems).toBeUndefined();
  });
});
