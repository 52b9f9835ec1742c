import { describe, expect, test } from 'vitest';
import { parsePayload } from '../../domain/payload/input.ts';
import { printPayload } from '../../domain/payload/print.ts';
import type { PayloadInput } from '../../domain/payload/typed-input.ts';

const LIMITS = { maxJobSeconds: 86_400 };

function parse(input: PayloadInput) {
  return parsePayload(input, LIMITS);
}

function json(document: unknown) {
  return parse({ json: typeof document === 'string' ? document : JSON.stringify(document) });
}

describe('a payload', () => {
  test('means the same as typed input and as a document', () => {
    const typed = parse({
      container: {
        image: 'python:3.11-alpine',
        command: ['python', '-c'],
        args: ['print(1)'],
        env: [{ name: 'A', value: '1' }],
        workingDir: '/app',
        timeoutSeconds: 60,
      },
    });
    const document = json({
      kind: 'CONTAINER',
      image: 'python:3.11-alpine',
      command: ['python', '-c'],
      args: ['print(1)'],
      env: { A: '1' },
      working_dir: '/app',
      timeout_seconds: 60,
    });
    expect(typed.problems).toBeUndefined();
    expect(typed).toEqual(document);
  });

  test('is printed as a document that reads back as the same payload, its kind first', () => {
    const { value } = parse({
      heartbeat: {
        endpoint: 'https://example.com',
        headers: [{ name: 'X-Key', value: 'k' }],
        expectedStatus: [200, 204],
      },
    });
    if (!value) throw new Error('It was refused.');
    expect(printPayload(value)).toBe(
      '{"kind":"HEARTBEAT","endpoint":"https://example.com","headers":{"X-Key":"k"},"expected_status":[200,204]}',
    );
    expect(json(printPayload(value)).value).toEqual(value);
  });

  test('omits what is absent or empty', () => {
    expect(parse({ container: { image: 'alpine', command: [], args: null, env: [], workingDir: null } }).value).toEqual(
      {
        kind: 'CONTAINER',
        image: 'alpine',
      },
    );
    expect(parse({ heartbeat: {} }).value).toEqual({ kind: 'HEARTBEAT' });
  });

  test('reports every problem at once, each at the field of the typed input', () => {
    const { problems } = parse({
      container: {
        image: 'UPPER',
        workingDir: 'app',
        env: [
          { name: 'OK', value: '1' },
          { name: 'A=B', value: '\0' },
          { name: '', value: null },
          { name: 'OK', value: '2' },
        ],
      },
    });
    expect(problems?.map(({ path }) => path.join('.')).sort()).toEqual([
      'container.env.1.name',
      'container.env.1.value',
      'container.env.2.name',
      'container.env.2.value',
      'container.env.3.name',
      'container.image',
      'container.workingDir',
    ]);
    for (const { message } of problems ?? []) expect(message).toMatch(/^[A-Z].*[.?]$/);
  });

  test.each<[unknown, string, string]>([
    ['{"kind":', 'json', 'valid JSON'],
    ['[]', 'json', 'an object'],
    ['null', 'json', 'not null'],
    [{}, 'json.kind', '"HEARTBEAT" or "CONTAINER"'],
    [{ kind: 'CONTANER' }, 'json.kind', 'Did you mean "CONTAINER"?'],
    [{ kind: 'CONTAINER' }, 'json.image', 'missing'],
    [{ kind: 'CONTAINER', image: 3 }, 'json.image', 'not a number'],
    [{ kind: 'CONTAINER', image: 'a', build: { dockerfile: 'FROM a' } }, 'json.build', 'not both'],
    [{ kind: 'CONTAINER', image: 'a', workingDir: '/' }, 'json.workingDir', 'Did you mean "working_dir"?'],
    [{ kind: 'CONTAINER', image: 'a', working_dir: null }, 'json.working_dir', 'not null'],
    [{ kind: 'CONTAINER', image: 'a', env: ['A=1'] }, 'json.env', 'not a list'],
    [{ kind: 'CONTAINER', image: 'a', env: { A: 1 } }, 'json.env.A', 'must be text'],
    [{ kind: 'CONTAINER', image: 'a', env: { 'A=B': '' } }, 'json.env.A=B', '"="'],
    [{ kind: 'CONTAINER', image: 'a', command: 'sh' }, 'json.command', 'a list of texts, not text'],
    [{ kind: 'CONTAINER', image: 'a', args: [1] }, 'json.args.0', 'not a number'],
    [{ kind: 'CONTAINER', image: 'a', timeout_seconds: 0 }, 'json.timeout_seconds', '1 to 86400'],
    [{ kind: 'CONTAINER', image: 'a', timeout_seconds: 1.5 }, 'json.timeout_seconds', 'whole number'],
    [{ kind: 'HEARTBEAT', image: 'a' }, 'json.image', 'is not a key'],
    ['{"kind":"HEARTBEAT","__proto__":{}}', 'json.__proto__', 'is not a key'],
    [{ kind: 'CONTAINER', image: 'a', args: ['\ud800'] }, 'json.args.0', 'surrogate'],
    [`{"kind":"HEARTBEAT"${' '.repeat(70_000)}}`, 'json', 'at most 65536 bytes'],
  ])('%j is refused at %s', (document, path, sentence) => {
    const { problems } = json(document);
    expect(problems?.map((problem) => problem.path.join('.'))).toEqual([path]);
    expect(problems?.[0]?.message).toContain(sentence);
  });

  test.each<[PayloadInput['heartbeat'], string]>([
    [{ endpoint: 'ftp://example.com' }, 'endpoint'],
    [{ endpoint: 'example.com' }, 'endpoint'],
    [{ endpoint: 'http://' }, 'endpoint'],
    [{ endpoint: 'http://ann:secret@example.com' }, 'endpoint'],
    [{ endpoint: 'tcp://example.com' }, 'endpoint'],
    [{ endpoint: 'tcp://example.com:99999' }, 'endpoint'],
    [{ endpoint: 'tcp://example.com:80/path' }, 'endpoint'],
    [{ endpoint: 'dns://example.com:53' }, 'endpoint'],
    [{ endpoint: 'tcp://example.com:80', method: 'GET' }, 'method'],
    [{ expectedStatus: [200] }, 'expectedStatus'],
    [{ endpoint: 'http://a', expectedStatus: [99] }, 'expectedStatus.0'],
    [{ endpoint: 'http://a', expectedStatus: [] }, 'expectedStatus'],
    [{ endpoint: 'http://a', body: 'b' }, 'body'],
    [{ endpoint: 'http://a', method: 'HEAD', bodyContains: 'b' }, 'bodyContains'],
    [{ endpoint: 'http://a', expectedStatusRanges: [] }, 'expectedStatusRanges'],
    [{ endpoint: 'http://a', expectedStatusRanges: ['2xx', '2x'] }, 'expectedStatusRanges.1'],
    [{ endpoint: 'http://a', expectedStatusRanges: ['6xx'] }, 'expectedStatusRanges.0'],
    [{ endpoint: 'http://a', expectedStatusRanges: ['299-200'] }, 'expectedStatusRanges.0'],
    [{ endpoint: 'http://a', expectedStatusRanges: ['200-600'] }, 'expectedStatusRanges.0'],
    [{ endpoint: 'http://a', expectedStatusRanges: Array(51).fill('2xx') }, 'expectedStatusRanges'],
    [{ endpoint: 'tcp://a:1', expectedStatusRanges: ['2xx'] }, 'expectedStatusRanges'],
    [{ endpoint: 'http://a', maxRedirects: 21 }, 'maxRedirects'],
    [{ endpoint: 'http://a', maxRedirects: -1 }, 'maxRedirects'],
    [{ endpoint: 'http://a', maxRedirects: 1, followRedirects: false }, 'maxRedirects'],
    [{ endpoint: 'http://a', method: 'HEAD', bodyNotContains: 'b' }, 'bodyNotContains'],
    [{ endpoint: 'http://a', headersOnly: true, bodyContains: 'b' }, 'bodyContains'],
    [{ endpoint: 'http://a', bodyMatches: '(?=a)' }, 'bodyMatches'],
    [{ endpoint: 'http://a', bodyMatches: '(a)\\1' }, 'bodyMatches'],
    [{ endpoint: 'http://a', bodyMatches: '' }, 'bodyMatches'],
    [{ endpoint: 'http://a', bodyMatches: 'a'.repeat(501) }, 'bodyMatches'],
    [{ endpoint: 'http://a', bodyJson: { path: '' } }, 'bodyJson.path'],
    [{ endpoint: 'http://a', bodyJson: { path: '$..a' } }, 'bodyJson.path'],
    [{ endpoint: 'http://a', bodyJson: { path: '$[?@.a]' } }, 'bodyJson.path'],
    [{ endpoint: 'http://a', bodyJson: { path: `$${'.a'.repeat(33)}` } }, 'bodyJson.path'],
    [{ endpoint: 'http://a', method: 'HEAD', bodyJson: { path: '$' } }, 'bodyJson'],
    [{ endpoint: 'ws://a' }, 'endpoint'],
    [{ endpoint: 'http://a', websocket: true, expectedStatus: [101] }, 'expectedStatus'],
    [{ endpoint: 'http://a', websocket: true, bodyMatches: 'a' }, 'bodyMatches'],
    [{ endpoint: 'http://a', httpVersion: 'HTTP_2' }, 'httpVersion'],
    [{ endpoint: 'https://a', httpVersion: 'HTTP_2', websocket: true }, 'httpVersion'],
    [{ endpoint: 'tcp://a:1', httpVersion: 'AUTO' }, 'httpVersion'],
    [{ endpoint: 'http://a', timeoutSeconds: 301 }, 'timeoutSeconds'],
    [{ endpoint: 'http://a', timeoutSeconds: 0 }, 'timeoutSeconds'],
    [{ endpoint: 'file:///etc/passwd' }, 'endpoint'],
    [{ endpoint: 'http://a', minTlsDaysLeft: 7 }, 'minTlsDaysLeft'],
    [{ minTlsDaysLeft: 7 }, 'minTlsDaysLeft'],
    [{ endpoint: 'https://a', minTlsDaysLeft: -1 }, 'minTlsDaysLeft'],
    [{ endpoint: 'https://a', minTlsDaysLeft: 4_000 }, 'minTlsDaysLeft'],
    [{ endpoint: 'https://a', dnsRecordType: 'MX' }, 'dnsRecordType'],
    [{ endpoint: 'tcp://a:1', dnsExpectedValues: ['b'] }, 'dnsExpectedValues'],
    [{ dnsServer: '192.0.2.53' }, 'dnsServer'],
    [{ endpoint: 'dns://a', dnsExpectedValues: [] }, 'dnsExpectedValues'],
    [{ endpoint: 'dns://a', dnsExpectedValues: Array.from({ length: 51 }, String) }, 'dnsExpectedValues'],
    [{ endpoint: 'dns://a', dnsExpectedValues: [' '] }, 'dnsExpectedValues.0'],
    [{ endpoint: 'dns://a', dnsServer: 'ns.example' }, 'dnsServer'],
    [{ endpoint: 'dns://a', dnsServer: '192.0.2.53:0' }, 'dnsServer'],
    [{ endpoint: 'dns://a', dnsServer: '192.0.2.53:65536' }, 'dnsServer'],
    [{ endpoint: 'dns://a', dnsServer: '[fe80::1%eth0]:53' }, 'dnsServer'],
    [{ endpoint: 'dns://a', tcpSend: 'b' }, 'tcpSend'],
    [{ endpoint: 'http://a', tcpExpect: 'b' }, 'tcpExpect'],
    [{ endpoint: 'tcp://a:1', tcpSend: '' }, 'tcpSend'],
    [{ endpoint: 'tcp://a:1', tcpExpect: 'é'.repeat(2_049) }, 'tcpExpect'],
    [{ endpoint: 'http://a', headers: [{ name: 'A', value: 'b\nC: d', secret: true }] }, 'headers.0.value'],
    [{ endpoint: 'http://a', headers: [{ name: 'A', value: '\ud800' }] }, 'headers.0.value'],
    [{ endpoint: 'http://a', headers: [{ name: 'Host', value: 'b' }] }, 'headers.0.name'],
    [{ endpoint: 'http://a', headers: [{ name: 'A', value: 'b\r\nC: d' }] }, 'headers.0.value'],
  ])('a heartbeat %j is refused at %s', (heartbeat, path) => {
    expect(parse({ heartbeat }).problems?.map((problem) => problem.path.join('.'))).toEqual([`heartbeat.${path}`]);
  });

  test('accepts the four schemes, and IPv6', () => {
    for (const endpoint of ['http://[::1]:80/a?b', 'HTTPS://example.com', 'tcp://[::1]:5432', 'dns://example.com']) {
      expect(parse({ heartbeat: { endpoint } }).value).toEqual({ kind: 'HEARTBEAT', endpoint });
    }
  });

  test('has limits: entries, their bytes, and the whole', () => {
    const env = (count: number, bytes: number) =>
      Array.from({ length: count }, (_, n) => ({ name: `A${n}`, value: 'x'.repeat(bytes) }));
    expect(parse({ container: { image: 'a', env: env(100, 300) } }).problems).toBeUndefined();
    expect(parse({ container: { image: 'a', env: env(101, 1) } }).problems?.[0]?.path).toEqual(['container', 'env']);
    expect(parse({ container: { image: 'a', env: env(100, 400) } }).problems?.[0]?.path).toEqual(['container', 'env']);
    expect(parse({ container: { image: 'a', args: ['x'.repeat(70_000)] } }).problems?.[0]?.path).toEqual(['container']);
  });

  test('must be exactly one of the alternatives', () => {
    expect(parse({}).problems).toHaveLength(1);
    expect(parse({ heartbeat: {}, json: '{}' }).problems).toHaveLength(1);
  });
});
