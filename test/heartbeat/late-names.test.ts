import { describe, expect, test } from 'vitest';
import { isBeyondLinks } from '../../workers/execution/network/links.ts';
import { createNames } from '../../workers/shared/dns/names.ts';
import { check, nameServer, outcome, policy, raw, texts } from './support.ts';

/** Longer than the check waits for the second family when it has addresses of the first. */
const LATE_MS = 400;
const [IPV4, IPV6] = [1, 28];
const late = (addresses: string[], family: number | undefined) =>
  nameServer(
    () => addresses,
    (type) => (type === family ? LATE_MS : 0),
  );

describe('a heartbeat whose name servers are late', () => {
  test.each([
    ['IPv4', IPV4, ['::1', '127.0.0.1'], '127.0.0.1'],
    ['IPv6', IPV6, ['127.0.0.9', '::ffff:7f00:1'], '::ffff:127.0.0.1'],
  ])('with %s connects to that family when the other fails', async (_, family, addresses, right) => {
    const { port } = await raw((socket) => socket.resume());
    const { names } = await late(addresses, family);
    const result = await check({ endpoint: `tcp://half.test:${port}` }, { names });
    expect(outcome(result)).toBe('ok');
    expect(texts(result)).toEqual([
      expect.stringMatching(/^half\.test is \S+ \(DNS /),
      expect.stringMatching(`^half\\.test is also ${right} \\(DNS `),
      expect.stringMatching(/^Connected to /),
    ]);
  });

  test('with a family does not wait for it when the other connects', async () => {
    const { port } = await raw((socket) => socket.resume());
    const { names } = await nameServer(
      () => ['127.0.0.1'],
      (type) => (type === IPV6 ? 60_000 : 0),
    );
    expect(outcome(await check({ endpoint: `tcp://half.test:${port}`, timeout_seconds: 2 }, { names }))).toBe('ok');
  });

  test('with a family keeps places for it, however many addresses of the other refuse', async () => {
    const { port } = await raw((socket) => socket.resume());
    const refusing = Array.from({ length: 20 }, (_, n) => `::ffff:7f00:1${(n + 16).toString(16)}`);
    const { names } = await late([...refusing, '127.0.0.1'], IPV4);
    expect(outcome(await check({ endpoint: `tcp://half.test:${port}` }, { names }))).toBe('ok');
  });

  test('tries only what HEARTBEAT_ALLOW admits of a family that is late, and waits for it if nothing else is admitted', async () => {
    const { port } = await raw((socket) => socket.resume());
    const outcomes = await Promise.all(
      [
        ['::1', '169.254.169.254'],
        ['fe80::1', '127.0.0.1'],
        ['fe80::1', '169.254.169.254'],
      ].map(async (addresses) => {
        const { names } = await late(addresses, IPV4);
        return outcome(await check({ endpoint: `tcp://half.test:${port}` }, { names }));
      }),
    );
    expect(outcomes).toEqual([
      `CHECK_FAILED: No connection to [::1]:${port}: ECONNREFUSED. A connection was expected.`,
      'ok',
      expect.stringMatching(/^CHECK_FAILED: half\.test \(fe80::1, 169\.254\.169\.254\) is in no network/),
    ]);
  });

  test('says that a family was not answered, and what it waits for', async () => {
    const { port } = await raw((socket) => socket.resume());
    const silent = await nameServer((_, type) => (type === IPV4 ? 'silence' : ['::1']));
    const endpoint = `tcp://half.test:${port}`;
    const [result, quick] = await Promise.all(
      [10, 1].map((timeout_seconds) => check({ endpoint, timeout_seconds }, { names: silent.names })),
    );
    if (result === undefined || quick === undefined) throw new Error('no results');
    expect(outcome(result)).toMatch(/^CHECK_FAILED: No connection to \[::1\]:\d+: ECONNREFUSED/);
    expect(texts(result)).toContainEqual(expect.stringMatching(/^The IPv4 addresses of half\.test did not come: /));
    expect(outcome(quick)).toBe(
      `TIMEOUT: Timed out after 1 s waiting for the IPv4 addresses of half.test, after no connection to [::1]:${port}: ECONNREFUSED.`,
    );
  });

  test('waits for expected addresses of the late family', async () => {
    const { names, server } = await late(['192.0.2.1', '2001:db8::1'], IPV6);
    const dns = { endpoint: 'dns://half.test', dns_expected_values: ['2001:db8::1'] };
    const wrong = { ...dns, dns_expected_values: ['2001:db8::2'] };
    const results = [check(dns, { names }), check({ ...dns, dns_server: server }), check(wrong, { names })];
    expect((await Promise.all(results)).map(outcome)).toEqual([
      'ok',
      'ok',
      'CHECK_FAILED: half.test is 192.0.2.1, 2001:db8::1. "2001:db8::2" was expected among them.',
    ]);
  });

  test('is not blamed when the first of two name servers is dead, which is then left out', async () => {
    const { port } = await raw((socket) => socket.resume());
    const closed = { server: '127.0.0.1:9' };
    const dead = await nameServer(() => 'silence');
    const alive = await nameServer((name) => {
      if (name === 'broken.test') return 'SERVFAIL';
      return name === 'slow.test' ? 'silence' : ['127.0.0.1'];
    });
    const servers = [closed.server, dead.server, alive.server];
    const names = createNames({ servers, resolvFile: '/nonexistent' });
    const quick = { endpoint: `tcp://here.test:${port}`, timeout_seconds: 1 };
    const said =
      'SYSTEM: Timed out after 1 s waiting for the name here.test to be resolved. ' +
      'A name server of this machine does not answer, and the time was up before another one did.';
    expect((await Promise.all([check(quick, { names }), check(quick, { names })])).map(outcome)).toEqual([said, said]);
    expect(outcome(await check(quick, { names }))).toBe('ok');
    // One that refuses costs no time, and excuses no name that fails.
    expect(outcome(await check({ endpoint: 'dns://broken.test' }, { names }))).toMatch(/^CHECK_FAILED: .*ESERVFAIL/);
    // From now on a silent name is its own fault.
    expect(outcome(await check({ ...quick, endpoint: `tcp://slow.test:${port}` }, { names }))).toMatch(/^TIMEOUT: /);
  });

  test('is blamed when a server answers that it fails, even one that is silent to the root over UDP', async () => {
    const { names } = await nameServer((name) => (name === '' ? 'silence' : 'SERVFAIL'));
    expect(outcome(await check({ endpoint: 'dns://broken.test' }, { names }))).toBe(
      'CHECK_FAILED: broken.test could not be resolved (ESERVFAIL). An address was expected.',
    );
  });

  test('notices a dead name server by names that take long, too', async () => {
    const dead = await nameServer(() => 'silence');
    const alive = await nameServer(() => ['127.0.0.1']);
    const names = createNames({ servers: [dead.server, alive.server], resolvFile: '/nonexistent' });
    expect(outcome(await check({ endpoint: 'dns://one.test' }, { names }))).toBe('ok');
    await expect
      .poll(async () => outcome(await check({ endpoint: 'dns://two.test', timeout_seconds: 1 }, { names })))
      .toBe('ok');
  });
});

describe('the addresses of a name', () => {
  test('are tried once each', async () => {
    const { port } = await raw((socket) => socket.resume());
    const { names } = await nameServer(() => [...Array<string>(12).fill('127.0.0.9'), '127.0.0.1']);
    expect(outcome(await check({ endpoint: `tcp://twice.test:${port}` }, { names }))).toBe('ok');
  });

  test('leave room in a message for whose fault it is, however many they are', async () => {
    const closed = await raw(() => undefined);
    await new Promise((resolve) => closed.server.close(resolve));
    const many = Array.from({ length: 60 }, (_, n) => `127.0.1.${n + 1}`);
    const { names } = await nameServer(() => many);
    const message = outcome(await check({ endpoint: `tcp://many.test:${closed.port}` }, { names }));
    expect(message).toMatch(/Addresses not tried: 127\.0\.1\.9, .* and \d+ more\.$/);
    const dns = { endpoint: 'dns://many.test', dns_expected_values: ['192.0.2.1'] };
    expect(outcome(await check(dns, { names }))).toMatch(/ and \d+ more\. "192\.0\.2\.1" was expected among them\.$/);
  });

  test('that are IPv4 in IPv6 belong to the links of this machine as IPv4, and other ways to write it do not', async () => {
    const { names } = await nameServer(() => ['::ffff:7f00:1']);
    const closed = await raw(() => undefined);
    await new Promise((resolve) => closed.server.close(resolve));
    expect(
      outcome(await check({ endpoint: `tcp://mapped.test:${closed.port}` }, { names, allow: policy('loopback') })),
    ).toBe(
      `CHECK_FAILED: No connection to [::ffff:127.0.0.1]:${closed.port}: ECONNREFUSED. A connection was expected.`,
    );
    expect(isBeyondLinks('::ffff:127.0.0.1')).toBe(false);
    expect(isBeyondLinks('64:ff9b::7f00:1')).toBe(true);
  });
});
