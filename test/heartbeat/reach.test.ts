import http from 'node:http';
import { describe, expect, test } from 'vitest';
import { check, listening, nameServer, outcome, policy, texts } from './support.ts';

const REFUSED = /^CHECK_FAILED: .* is in no network that heartbeats may reach here/;

describe('the addresses that a heartbeat may reach', () => {
  test('refuses metadata and link-local addresses in every notation', async () => {
    const allow = policy('public,private,loopback');
    const hosts = [
      '169.254.169.254',
      '[::ffff:169.254.169.254]',
      '[64:ff9b::a9fe:a9fe]',
      '[2002:a9fe:a9fe::]',
      '[fd00:ec2::254]',
    ];
    // The URL standard reads these forms as the same IPv4 address.
    hosts.push(
      '2852039166',
      '0xa9fea9fe',
      '0251.0376.0251.0376',
      '169.254.43518',
      '169。254。169。254',
      '0.0.0.0',
      '[::]',
      '[fe80::1]',
    );
    for (const host of hosts)
      expect([host, outcome(await check({ endpoint: `http://${host}/` }, { allow }))]).toEqual([
        host,
        expect.stringMatching(REFUSED),
      ]);
    for (const host of ['169.254.169.254', '[::ffff:a9fe:a9fe]', '2852039166', '169.254.43518'])
      expect([host, outcome(await check({ endpoint: `tcp://${host}:80` }, { allow }))]).toEqual([
        host,
        expect.stringMatching(REFUSED),
      ]);
  });

  test('refuses a redirect to them', async () => {
    const { host } = await listening(
      http.createServer((_, response) => response.writeHead(302, { location: 'http://169.254.169.254/latest/' }).end()),
    );
    const result = await check({ endpoint: `http://${host}/` });
    expect(outcome(result)).toMatch(REFUSED);
    expect(texts(result)).toContain('Redirected to http://169.254.169.254/latest/.');
  });

  test('refuses a name that resolves to them, also behind a redirect', async () => {
    const { names } = await nameServer((name) =>
      name === 'meta.test' ? ['169.254.169.254', 'fd00:ec2::254'] : undefined,
    );
    const { host } = await listening(
      http.createServer((_, response) => response.writeHead(302, { location: 'http://meta.test/' }).end()),
    );
    for (const endpoint of ['http://meta.test/', 'tcp://meta.test:80', `http://${host}/`]) {
      const message = outcome(await check({ endpoint }, { names }));
      expect(message).toMatch(REFUSED);
      expect(message).toContain('meta.test (fd00:ec2::254, 169.254.169.254)');
    }
  });

  test('connects to the address that was checked, even if the name resolves differently later', async () => {
    let answers = 0;
    const { names, asked } = await nameServer(() => {
      answers += 1;
      // The A and AAAA lookups of the first check.
      return answers <= 2 ? ['127.0.0.1'] : ['169.254.169.254'];
    });
    const { port } = await listening(http.createServer((_, response) => response.end('mine')));
    expect(outcome(await check({ endpoint: `http://fickle.test:${port}/`, body_contains: 'mine' }, { names }))).toBe(
      'ok',
    );
    expect(asked).toHaveLength(2);
    expect(outcome(await check({ endpoint: `http://fickle.test:${port}/` }, { names }))).toMatch(REFUSED);
  });

  test('uses the admitted addresses of a name, and no others', async () => {
    const { names } = await nameServer(() => ['169.254.169.254', '10.255.255.1', '127.0.0.1', 'fe80::1']);
    const { port, host } = await listening(http.createServer((_, response) => response.end()));
    const result = await check({ endpoint: `http://mixed.test:${port}/` }, { names });
    expect(outcome(result)).toBe('ok');
    expect(texts(result)[2]).toMatch(`Connected to ${host} in`);
  });

  test('follows the words of the policy', async () => {
    const { host } = await listening(http.createServer((_, response) => response.end()));
    const endpoint = `http://${host}/`;
    expect(outcome(await check({ endpoint }, { allow: policy('public,private') }))).toMatch(REFUSED);
    expect(outcome(await check({ endpoint }, { allow: policy('public,127.0.0.0/8') }))).toBe('ok');
    expect(outcome(await check({ endpoint: 'http://localhost:1/' }, { allow: policy('public') }))).toMatch(REFUSED);
  });

  test('refuses what is not an endpoint', async () => {
    for (const endpoint of [
      'file:///etc/passwd',
      'ftp://127.0.0.1/',
      'http://',
      'localhost',
      '',
      'tcp://127.0.0.1',
      'javascript:1',
      'http://a b/',
      'dns://',
      'unix:/run/docker.sock',
    ])
      expect([endpoint, outcome(await check({ endpoint }))]).toEqual([
        endpoint,
        expect.stringMatching(/^CHECK_FAILED: .* was expected\.$/),
      ]);
  });
});
