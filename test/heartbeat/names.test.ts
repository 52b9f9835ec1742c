import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createNames } from '../../workers/shared/dns/names.ts';
import { check, nameServer, outcome, policy, raw, texts } from './support.ts';

describe('a heartbeat over TCP or DNS', () => {
  test('succeeds when the port accepts a connection', async () => {
    const { host } = await raw((socket) => socket.resume());
    const result = await check({ endpoint: `tcp://${host}` });
    expect(outcome(result)).toBe('ok');
    expect(texts(result)).toEqual([expect.stringMatching(`^Connected to ${host} in [\\d.]+ ms\\.$`)]);
  });

  test('fails on a port that refuses, and says so', async () => {
    const { host, server } = await raw(() => undefined);
    await new Promise((resolve) => server.close(resolve));
    expect(outcome(await check({ endpoint: `tcp://${host}` }))).toBe(
      `CHECK_FAILED: No connection to ${host}: ECONNREFUSED. A connection was expected.`,
    );
  });

  test('tries every address of a name, and both families of localhost', async () => {
    const { port, host } = await raw((socket) => socket.resume());
    const { names } = await nameServer(() => ['127.0.0.2', '::1', '127.0.0.1', '127.0.0.3']);
    const result = await check({ endpoint: `tcp://many.test:${port}` }, { names });
    expect(outcome(result)).toBe('ok');
    expect(texts(result)).toEqual([
      expect.stringMatching(/^many\.test is ::1, 127\.0\.0\.2, 127\.0\.0\.1, 127\.0\.0\.3 \(DNS [\d.]+ ms\)\.$/),
      expect.stringMatching(`Connected to ${host}`),
    ]);
    expect(outcome(await check({ endpoint: `tcp://localhost:${port}` }))).toBe('ok');
  });

  test('resolves a name and logs its addresses, or fails if there are none', async () => {
    const { names } = await nameServer((name) => ({ 'here.test': ['127.0.0.1', '::1'], 'empty.test': [] })[name]);
    expect(texts(await check({ endpoint: 'dns://here.test' }, { names }))).toEqual([
      expect.stringMatching(/^here\.test is ::1, 127\.0\.0\.1/),
    ]);
    const address = await check({ endpoint: 'dns://127.0.0.1' }, { names });
    expect(texts(address)).toEqual(['127.0.0.1 is an address already: there is nothing to resolve.']);
    expect(outcome(await check({ endpoint: 'dns://gone.test' }, { names }))).toBe(
      'CHECK_FAILED: gone.test could not be resolved (ENOTFOUND). An address was expected.',
    );
    expect(outcome(await check({ endpoint: 'dns://empty.test' }, { names }))).toMatch(/ENODATA/);
    expect(outcome(await check({ endpoint: `dns://${'a'.repeat(300)}.test` }, { names }))).toMatch(/EBADNAME/);
  });

  test('blames a name without an answer if its server answers for others', async () => {
    const { names } = await nameServer((name) => (name === 'dead.test' ? 'silence' : []));
    const result = await check({ endpoint: 'http://dead.test/', timeout_seconds: 3 }, { names });
    expect(outcome(result)).toBe('TIMEOUT: Timed out after 3 s waiting for the name dead.test to be resolved.');
  });

  test('blames the platform if the name servers answer nothing at all', async () => {
    const silent = await nameServer(() => 'silence');
    const results = await Promise.all(
      [1, 2].map((n) => check({ endpoint: `http://any${n}.test/`, timeout_seconds: 3 }, { names: silent.names })),
    );
    for (const result of results)
      expect(outcome(result)).toMatch(/^SYSTEM: Timed out after 3 s .* No name server answers anything\.$/);
    const absent = createNames({ servers: ['127.0.0.1:9'], resolvFile: '/nonexistent' });
    expect(outcome(await check({ endpoint: 'dns://any.test' }, { names: absent }))).toMatch(
      /^SYSTEM: No name server answers/,
    );
  });

  test('blames the platform if the name servers are silent for longer than the time-out, or fail for every name', async () => {
    const silent = await nameServer(() => 'silence');
    const quick = await check({ endpoint: 'tcp://any.test:1', timeout_seconds: 0.3 }, { names: silent.names });
    expect(outcome(quick)).toMatch(/^SYSTEM: Timed out after 0\.3 s .* No name server answers anything\.$/);
    for (const code of ['SERVFAIL', 'REFUSED'] as const) {
      const { names } = await nameServer(() => code);
      for (const endpoint of ['dns://any.test', 'http://any.test/', 'tcp://any.test:1'])
        expect(outcome(await check({ endpoint }, { names }))).toBe(
          `SYSTEM: Every name server fails, whatever the name. any.test could not be resolved (E${code}). An address was expected.`,
        );
    }
  });

  test('blames a name whose own servers fail, in both families or in one', async () => {
    const { names } = await nameServer((name, type) => {
      if (name === 'broken.test' || (name === 'half.test' && type !== 28)) return 'SERVFAIL';
      return name === 'refused.test' ? 'REFUSED' : [];
    });
    for (const [name, code] of [
      ['broken.test', 'ESERVFAIL'],
      ['half.test', 'ESERVFAIL'],
      ['refused.test', 'EREFUSED'],
    ])
      expect(outcome(await check({ endpoint: `dns://${name}` }, { names }))).toBe(
        `CHECK_FAILED: ${name} could not be resolved (${code}). An address was expected.`,
      );
  });

  test('blames a name whose answer is cut short, and comes no other way', async () => {
    for (const others of [[], 'TRUNCATED' as const]) {
      const { names } = await nameServer((name) => (name === 'long.test' ? 'TRUNCATED' : others));
      expect(outcome(await check({ endpoint: 'dns://long.test' }, { names }))).toMatch(
        /^CHECK_FAILED: long\.test could not be resolved/,
      );
    }
  });

  test('connects to the one family that has a route, however many addresses the other has', async () => {
    const { port } = await raw((socket) => socket.resume());
    const six = (count: number) => Array.from({ length: count }, (_, n) => `fd00:dead::${(n + 1).toString(16)}`);
    for (const addresses of [
      [...six(8), '127.0.0.1', '127.0.0.2'],
      [...six(20), '127.0.0.1'],
    ]) {
      const { names } = await nameServer(() => addresses);
      const result = await check({ endpoint: `tcp://many.test:${port}` }, { names, allow: policy('loopback,private') });
      expect(outcome(result)).toBe('ok');
    }
    // Refused ones do not use up the places of the others.
    const { names } = await nameServer(() => [...six(20), '169.254.1.1', '127.0.0.1']);
    expect(outcome(await check({ endpoint: `tcp://many.test:${port}` }, { names }))).toBe('ok');
  });

  test('tries IPv4 among many IPv6 addresses that hang, and names the addresses that it did not try', async () => {
    const hanging = Array.from({ length: 20 }, (_, n) => `127.0.1.${n + 1}`);
    const { names } = await nameServer(() => [...hanging, '::1']);
    const closed = await raw(() => undefined);
    await new Promise((resolve) => closed.server.close(resolve));
    const message = outcome(await check({ endpoint: `tcp://many.test:${closed.port}` }, { names }));
    expect(message).toContain(`No connection to [::1]:${closed.port} or 127.0.1.1:${closed.port} or 127.0.1.2`);
    expect(message).toMatch(
      /ECONNREFUSED\. A connection was expected\. Addresses not tried: 127\.0\.1\.8, .*127\.0\.1\.20\.$/,
    );
  });

  test('reads the hosts file, and the search list for a short name', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'chronoverse-names-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const [hostsFile, resolvFile] = [join(folder, 'hosts'), join(folder, 'resolv.conf')];
    await writeFile(
      hostsFile,
      '127.0.0.1 a.test B.test # c.test\n::1\ta.test\n127.1 a.test bad.test\n127.0.0.1 dot.test.\n',
    );
    await writeFile(resolvFile, 'search one.test two.test\noptions ndots:2 rotate\n');
    const { asked, server } = await nameServer(() => undefined);
    const names = createNames({ hostsFile, resolvFile, servers: [server] });
    expect(await names.resolve('A.test', () => undefined)).toEqual(['::1', '127.0.0.1']);
    expect(await names.resolve('b.test.', () => undefined)).toEqual(['127.0.0.1']);
    expect(await names.resolve('dot.test', () => undefined)).toEqual(['127.0.0.1']);
    await expect(names.resolve('api', () => undefined)).rejects.toMatchObject({ code: 'ENOTFOUND' });
    expect([...new Set(asked)]).toEqual(['api.one.test', 'api.two.test', 'api']);
    await expect(names.resolve('x.y.z', () => undefined)).rejects.toThrow();
    expect(asked.slice(6, 8)).toEqual(['x.y.z', 'x.y.z']);
  });

  test.each([
    ['.', 'gone.example'],
    ['. .corp.test.', 'gone'],
    [`${'a'.repeat(60)}.${'b'.repeat(60)}.${'c'.repeat(60)}`, `${'d'.repeat(60)}.${'e'.repeat(60)}.test`],
  ])('says that a name is not there where the search list is "%s"', async (search, name) => {
    const folder = await mkdtemp(join(tmpdir(), 'chronoverse-names-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const resolvFile = join(folder, 'resolv.conf');
    await writeFile(resolvFile, `search ${search}\n`);
    const { server, asked } = await nameServer(() => undefined);
    const names = createNames({ hostsFile: '/nonexistent', resolvFile, servers: [server] });
    expect(outcome(await check({ endpoint: `dns://${name}` }, { names }))).toBe(
      `CHECK_FAILED: ${name} could not be resolved (ENOTFOUND). An address was expected.`,
    );
    expect(new Set(asked)).toEqual(new Set(search.includes('corp') ? ['gone.corp.test', 'gone'] : [name]));
  });

  test('logs the name that has the addresses when a search domain completes the one asked for', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'chronoverse-names-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const resolvFile = join(folder, 'resolv.conf');
    await writeFile(resolvFile, 'search corp.test\n');
    const { server } = await nameServer((name) => {
      if (name === 'broken.example') return 'SERVFAIL';
      return name.endsWith('.corp.test') ? ['127.0.0.1'] : undefined;
    });
    const names = createNames({ hostsFile: '/nonexistent', resolvFile, servers: [server] });
    expect(texts(await check({ endpoint: 'dns://typo.example' }, { names }))).toEqual([
      expect.stringMatching(/^typo\.example, found as typo\.example\.corp\.test, is 127\.0\.0\.1 /),
    ]);
    // Nobody knows whether this name exists: the wildcard does not answer for it.
    expect(outcome(await check({ endpoint: 'dns://broken.example' }, { names }))).toMatch(/^CHECK_FAILED: .*ESERVFAIL/);
    expect(outcome(await check({ endpoint: 'dns://typo.example.' }, { names }))).toMatch(/ENOTFOUND/);
  });
});
