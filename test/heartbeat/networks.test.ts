import net from 'node:net';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isAllowed, type NetworkPolicy, parseAllow } from '../../domain/network/networks.ts';

describe('the networks that a HEARTBEAT may reach', () => {
  test('classifies each address as the registries do', () => {
    const table: Record<string, string[]> = {
      public: [
        '93.184.216.34',
        '8.8.8.8',
        '172.32.0.1',
        '100.128.0.1',
        '2606:2800:220:1:248:1893:25c8:1946',
        '2a00::1',
      ],
      private: ['10.0.0.1', '172.16.0.1', '172.31.255.255', '192.168.1.1', '100.64.0.1', 'fc00::1', 'fdff::1'],
      loopback: ['127.0.0.1', '127.255.255.254', '::1', '0:0:0:0:0:0:0:1'],
      '': ['169.254.169.254', '169.254.0.1', '168.63.129.16', '100.100.100.200', '192.0.0.192', 'fd00:ec2::254']
        .concat(['fd20:ce::254', 'fe80::1', 'fe80::1%eth0', '0.0.0.0', '::', '224.0.0.1', 'ff02::1', '255.255.255.255'])
        .concat([
          '240.0.0.1',
          '192.0.2.1',
          '2001:db8::1',
          '2001::1',
          '198.18.0.1',
          'fec0::1',
          '4000::1',
          '64:ff9b:1::1',
        ]),
    };
    for (const [word, addresses] of Object.entries(table)) {
      for (const address of addresses) expect([address, wordsThatAdmit(address)]).toEqual([address, word]);
    }
  });

  test('judges an IPv6 address that contains an IPv4 address by the IPv4 address', () => {
    const forms = [
      '::ffff:a9fe:a9fe',
      '::ffff:169.254.169.254',
      '::169.254.169.254',
      '::ffff:0:169.254.169.254',
    ].concat(['64:ff9b::a9fe:a9fe', '2002:a9fe:a9fe::1', '0:0:0:0:0:ffff:169.254.169.254']);
    for (const form of forms) expect([form, wordsThatAdmit(form)]).toEqual([form, '']);
    for (const form of ['::ffff:127.0.0.1', '64:ff9b::7f00:1', '2002:7f00:1::'])
      expect(wordsThatAdmit(form)).toBe('loopback');
    for (const form of ['::ffff:10.0.0.1', '64:ff9b::a00:1', '2002:a00:1::'])
      expect(wordsThatAdmit(form)).toBe('private');
    for (const form of ['::ffff:8.8.8.8', '64:ff9b::808:808', '2002:808:808::'])
      expect(wordsThatAdmit(form)).toBe('public');
  });

  test('opens a special network only if the setting names a network within it', () => {
    expect(isAllowed(policy('0.0.0.0/0,::/0'), '169.254.169.254')).toBe(false);
    expect(isAllowed(policy('0.0.0.0/0,::/0'), 'fe80::1')).toBe(false);
    expect(isAllowed(policy('0.0.0.0/0'), '127.0.0.1')).toBe(true);
    expect(isAllowed(policy('169.254.169.254'), '169.254.169.254')).toBe(true);
    expect(isAllowed(policy('169.254.169.254'), '::ffff:169.254.169.254')).toBe(true);
    expect(isAllowed(policy('169.254.0.0/16'), '169.254.7.7')).toBe(true);
    expect(isAllowed(policy('fe80::/10'), 'fe80::1%eth0')).toBe(true);
    expect(isAllowed(policy('fd00:ec2::254/128'), 'fd00:ec2::254')).toBe(true);
    expect(isAllowed(policy('fd00::/8'), 'fd00:ec2::254')).toBe(false);
    expect(isAllowed(policy('240.0.0.0/4'), '240.0.0.1')).toBe(true);
  });

  test('never admits what is not an address', () => {
    const everything = policy('public,private,loopback,0.0.0.0/0,::/0');
    for (const text of [
      '',
      'localhost',
      '127.1',
      '0x7f.0.0.1',
      '0177.0.0.1',
      '2130706433',
      '1.2.3.4.5',
      '256.1.1.1',
      '1.2.3',
    ])
      expect([text, isAllowed(everything, text)]).toEqual([text, false]);
    for (const text of [
      ':',
      ':::',
      '1::2::3',
      '1:2:3:4:5:6:7',
      '1:2:3:4:5:6:7:8:9',
      'g::1',
      '::ffff:1.2.3',
      '1.2.3.4::',
    ])
      expect([text, isAllowed(everything, text)]).toEqual([text, false]);
  });

  test('agrees with Node on what a network contains, and reads every form of an address alike', () => {
    const bytes = fc.uint8Array({ minLength: 4, maxLength: 4 }).map((four) => four.join('.'));
    fc.assert(
      fc.property(bytes, bytes, fc.integer({ min: 1, max: 32 }), (address, other, length) => {
        const first = masked(other, length);
        const list = new net.BlockList();
        list.addSubnet(first, length, 'ipv4');
        fc.pre(wordsThatAdmit(address) !== ''); // special networks follow their own rule
        expect(isAllowed(policy(`${first}/${length}`), address)).toBe(list.check(address));
      }),
    );
    fc.assert(
      fc.property(fc.ipV6(), (text) => {
        // A URL writes every form of an address the same way.
        const url = new URL(`http://[${text}]/`);
        expect(wordsThatAdmit(text)).toBe(wordsThatAdmit(url.hostname.slice(1, -1)));
      }),
    );
  });

  test('says what is wrong with a setting', () => {
    expect(parseAllow('public,pubic')).toMatch(/^"pubic" is none of public, private, loopback, and no network such as/);
    expect(parseAllow('10.0.0.1/8')).toMatch(/bits set to the right of its prefix/);
    expect(parseAllow('::ffff:10.0.0.0/104')).toMatch(/name the IPv4 network itself/);
    expect(parseAllow('2002::/16')).toMatch(/name the IPv4 network itself/);
    for (const text of ['10.0.0.0/33', '10.0.0.0/', '10.0.0.0/8/8', '10.0.0/8', 'fe80::%1/64', '/8', 'fd00::/129'])
      expect([text, parseAllow(text)]).toEqual([text, expect.stringMatching(/no network such as/)]);
    for (const text of ['', ' , ,']) expect(parseAllow(text)).toMatch(/^No network is named/);
    expect(parseAllow(' Public , 10.0.0.0/8 ')).toMatchObject({ words: new Set(['public']) });
  });
});

function policy(text: string): NetworkPolicy {
  const parsed = parseAllow(text);
  if (typeof parsed === 'string') throw new Error(parsed);
  return parsed;
}

function wordsThatAdmit(address: string): string {
  return ['public', 'private', 'loopback'].filter((word) => isAllowed(policy(word), address)).join(',');
}

function masked(address: string, length: number): string {
  const bits = address.split('.').reduce((bits, part) => bits * 256 + Number(part), 0);
  const first = bits - (bits % 2 ** (32 - length));
  return [24, 16, 8, 0].map((shift) => Math.floor(first / 2 ** shift) % 256).join('.');
}
