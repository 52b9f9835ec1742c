import { describe, expect, test } from 'vitest';
import type { HeartbeatPayload } from '../../domain/payload/payload.ts';
import { createNames } from '../../workers/shared/dns/names.ts';
import { recordServer } from './record-server.ts';
import { check, nameServer, outcome, policy, texts } from './support.ts';

const ZONE = {
  'all.test A': ['192.0.2.1', '192.0.2.2'],
  'all.test AAAA': ['2001:db8::1'],
  'all.test CAA': ['0 issue letsencrypt.org'],
  'more.test CAA': ['0 issue letsencrypt.org; validationmethods=dns-01'],
  'www.all.test CNAME': ['all.test'],
  'all.test MX': ['20 backup.all.test', '10 mail.all.test'],
  'none.all.test MX': ['0 .'],
  '_none._tcp.all.test SRV': ['0 0 0 .'],
  'books.all.test CNAME': ['xn--bcher-kva.test'],
  'all.test NS': ['ns1.all.test', 'ns2.all.test'],
  'all.test SOA': ['ns1.all.test hostmaster.all.test 2026112901 7200 3600 1209600 300'],
  '_sip._tcp.all.test SRV': ['1 2 5060 sip.all.test'],
  'all.test TXT': [['v=spf1 ', '-all'], ['Case Counts']],
  '4.3.2.10.in-addr.arpa PTR': ['ten.all.test'],
  '1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR': ['six.all.test'],
};

type Given = Omit<HeartbeatPayload<never>, 'kind' | 'endpoint'>;

describe('a heartbeat that asks for DNS records', () => {
  test('finds the records of each type, and compares the expected values with them', async () => {
    const server = await recordServer(ZONE);
    const found: [name: string, given: Given, shown: string][] = [
      ['all.test', { dns_record_type: 'A', dns_expected_values: ['192.0.2.2'] }, '192.0.2.1, 192.0.2.2 (A'],
      ['all.test', { dns_record_type: 'AAAA', dns_expected_values: ['2001:DB8:0::1'] }, '2001:db8::1 (AAAA'],
      [
        'all.test',
        { dns_record_type: 'CAA', dns_expected_values: ['letsencrypt.org'] },
        '0 issue "letsencrypt.org" (CAA',
      ],
      ['all.test', { dns_record_type: 'CAA', dns_expected_values: ['0 issue "letsencrypt.org"'] }, '0 issue'],
      ['more.test', { dns_record_type: 'CAA', dns_expected_values: ['letsencrypt.org'] }, '0 issue'],
      ['www.all.test', { dns_record_type: 'CNAME', dns_expected_values: ['ALL.test.'] }, 'all.test (CNAME'],
      [
        'all.test',
        { dns_record_type: 'MX', dns_expected_values: ['mail.all.test'] },
        '10 mail.all.test, 20 backup.all.test (MX',
      ],
      [
        'all.test',
        { dns_record_type: 'MX', dns_expected_values: ['20 backup.all.test', '10 mail.all.test.'] },
        '10 mail',
      ],
      ['none.all.test', { dns_record_type: 'MX', dns_expected_values: ['0 .', '.'] }, '0 . (MX'],
      ['_none._tcp.all.test', { dns_record_type: 'SRV', dns_expected_values: ['0 0 0 .', '.'] }, '0 0 0 . (SRV'],
      ['books.all.test', { dns_record_type: 'CNAME', dns_expected_values: ['Bücher.test'] }, 'xn--bcher-kva.test'],
      ['all.test', { dns_record_type: 'NS', dns_expected_values: ['ns2.all.test', 'ns1.all.test'] }, 'ns1.all.test'],
      [
        'all.test',
        { dns_record_type: 'SOA', dns_expected_values: ['ns1.all.test'] },
        'ns1.all.test hostmaster.all.test 2026112901 7200',
      ],
      [
        '_sip._tcp.all.test',
        { dns_record_type: 'SRV', dns_expected_values: ['1 2 5060 sip.all.test'] },
        '1 2 5060 sip.all.test (SRV',
      ],
      ['all.test', { dns_record_type: 'TXT', dns_expected_values: ['v=spf1 -all'] }, 'v=spf1 -all, Case Counts (TXT'],
      ['10.2.3.4', { dns_record_type: 'PTR', dns_expected_values: ['ten.all.test'] }, 'ten.all.test (PTR'],
      ['[2001:db8::1]', { dns_record_type: 'PTR' }, 'six.all.test (PTR'],
      ['all.test', { dns_expected_values: ['192.0.2.1', '2001:db8::1'] }, '2001:db8::1, 192.0.2.1, 192.0.2.2 (A, AAAA'],
    ];
    for (const [name, given, shown] of found) {
      const result = await check({ endpoint: `dns://${name}`, ...given, dns_server: server });
      expect([name, given, outcome(result)]).toEqual([name, given, 'ok']);
      expect(texts(result)).toEqual([expect.stringContaining(` is ${shown}`)]);
      expect(texts(result)[0]).toContain(` at ${server} in `);
    }
  });

  test('fails when a value or a record is missing, and says what there is', async () => {
    const dns_server = await recordServer(ZONE);
    const failing: [name: string, given: Given, message: string][] = [
      [
        'all.test',
        { dns_record_type: 'A', dns_expected_values: ['192.0.2.1', '192.0.2.9'] },
        'all.test is 192.0.2.1, 192.0.2.2. "192.0.2.9" was expected among them.',
      ],
      [
        'all.test',
        { dns_record_type: 'TXT', dns_expected_values: ['case counts'] },
        'all.test is v=spf1 -all, Case Counts. "case counts" was expected among them.',
      ],
      [
        'all.test',
        { dns_record_type: 'CNAME' },
        `At ${dns_server}, all.test could not be resolved (ENODATA). A record of the type CNAME was expected.`,
      ],
      [
        'none.test',
        { dns_record_type: 'MX' },
        `At ${dns_server}, none.test could not be resolved (ENOTFOUND). A record of the type MX was expected.`,
      ],
      ['none.test', {}, `At ${dns_server}, none.test could not be resolved (ENOTFOUND). An address was expected.`],
      ['10.2.3.4', { dns_record_type: 'MX' }, '10.2.3.4 is an address. It can have records of the type PTR only.'],
    ];
    for (const [name, given, message] of failing)
      expect(outcome(await check({ endpoint: `dns://${name}`, ...given, dns_server }))).toBe(
        `CHECK_FAILED: ${message}`,
      );
  });

  test('asks the name servers of the machine for a type, too, and blames them when they answer nothing', async () => {
    const names = createNames({ servers: [await recordServer(ZONE)], resolvFile: '/nonexistent' });
    expect(outcome(await check({ endpoint: 'dns://all.test', dns_record_type: 'MX' }, { names }))).toBe('ok');
    const silent = await nameServer(() => 'silence');
    const result = await check(
      { endpoint: 'dns://all.test', dns_record_type: 'MX', timeout_seconds: 0.3 },
      { names: silent.names },
    );
    expect(outcome(result)).toBe(
      'SYSTEM: Timed out after 0.3 s waiting for the MX records of all.test. No name server answers anything.',
    );
  });

  test('blames a name server of its own for itself, and asks it only where the policy allows', async () => {
    const { server } = await nameServer(() => 'silence');
    const failing = { endpoint: 'dns://all.test', dns_server: server, timeout_seconds: 0.3 };
    expect(outcome(await check(failing))).toBe(
      `TIMEOUT: Timed out after 0.3 s waiting for the addresses of all.test at ${server}.`,
    );
    const closed = outcome(await check({ endpoint: 'dns://all.test', dns_server: '127.0.0.1:9' }));
    expect(closed).toMatch(/^CHECK_FAILED: At 127\.0\.0\.1:9, all\.test could not be resolved \(ECONNREFUSED\)/);
    for (const dns_server of ['169.254.169.254', '[::ffff:a9fe:a9fe]:53', '127.0.0.1:53'])
      expect(
        outcome(await check({ endpoint: 'dns://all.test', dns_server }, { allow: policy('public,private') })),
      ).toMatch(/^CHECK_FAILED: .* is in no network that heartbeats may reach here/);
  });
});
