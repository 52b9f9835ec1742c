import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createNames } from '../../workers/shared/dns/names.ts';
import { check, nameServer, outcome, raw, texts } from './support.ts';

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

  test('reads the hosts file, and the search list for a short name', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'chronoverse-names-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const [hostsFile, resolvFile] = [join(folder, 'hosts'), join(folder, 'resolv.conf')];
    await writeFile(hostsFile, '127.0.0.1 a.test B.test # c.test\n::1\ta.test\n');
    await writeFile(resolvFile, 'search one.test two.test\noptions ndots:2 rotate\n');
    const { asked, server } = await nameServer(() => undefined);
    const names = createNames({ hostsFile, resolvFile, servers: [server] });
    expect(await names.resolve('A.test', () => undefined)).toEqual(['::1', '127.0.0.1']);
    expect(await names.resolve('b.test.', () => undefined)).toEqual(['127.0.0.1']);
    await expect(names.resolve('api', () => undefined)).rejects.toMatchObject({ code: 'ENOTFOUND' });
    expect([...new Set(asked)]).toEqual(['api.one.test', 'api.two.test', 'api']);
    await expect(names.resolve('x.y.z', () => undefined)).rejects.toThrow();
    expect(asked.slice(6, 8)).toEqual(['x.y.z', 'x.y.z']);
  });
});
