import { describe, expect, test } from 'vitest';
import { addressKey } from '../../domain/network/address-key.ts';

describe('the key of an address', () => {
  test.each([
    ['203.0.113.7', '203.0.113.7'],
    ['::ffff:203.0.113.7', '203.0.113.7'],
    ['::FFFF:cb00:7107', '203.0.113.7'],
    ['2002:cb00:7107::1', '203.0.113.7'],
    ['2a00:1:2:3:4:5:6:7', '2a00:1:2:3::/64'],
    ['2a00:1:2:3::', '2a00:1:2:3::/64'],
    ['2a00::1', '2a00:0:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ])('of %s is %s', (address, key) => expect(addressKey(address)).toBe(key));

  test('differs between neighboring networks', () => {
    expect(addressKey('2a00:1:2:4::1')).not.toBe(addressKey('2a00:1:2:3::1'));
    expect(addressKey('203.0.113.7')).not.toBe(addressKey('203.0.113.8'));
  });

  test.each([undefined, '', 'unknown', '1.2.3', '1.2.3.4.5', '2a00:::1', '203.0.113.7, 10.0.0.1'])(
    'of %j, which is not an address, is the same for all',
    (address) => expect(addressKey(address)).toBe('unknown'),
  );
});
