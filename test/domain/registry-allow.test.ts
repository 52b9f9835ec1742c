import { describe, expect, test } from 'vitest';
import {
  areAllowed,
  authorityOf,
  isTrustedRegistry,
  matchesImage,
  parseImagePatterns,
  parseRegistryAllow,
  withImage,
} from '../../domain/images/registry-allow.ts';
import { imagePatterns, registryPolicy } from '../support/workers.ts';

describe('REGISTRY_ALLOW', () => {
  test.each([
    ['2130706433:5000', '127.0.0.1:5000'],
    ['0x7f.1:5000', '127.0.0.1:5000'],
    ['0177.0.0.1', '127.0.0.1'],
    ['127.1', '127.0.0.1'],
    ['[::ffff:169.254.169.254]:80', '[::ffff:a9fe:a9fe]:80'],
    ['GHCR.io:443', 'ghcr.io'],
    ['index.docker.io', 'docker.io'],
    ['registry-1.docker.io', 'docker.io'],
  ])('reads the registry %s as %s', (written, meant) => expect(authorityOf(written)).toBe(meant));

  test.each(['08.1.1.1', '1.2.3.999', '[fe80::1%25eth0]:5000', 'good.example@127.0.0.1', 'a/b', 'a b', ''])(
    'does not accept %j as a registry',
    (written) => expect(authorityOf(written)).toBeUndefined(),
  );

  test('trusts the named registries with their ports, and Docker Hub if public addresses are allowed', () => {
    const policy = registryPolicy('public, registry.corp:5000, 10.1.0.0/16');
    expect(isTrustedRegistry(policy, 'Registry.corp:5000')).toBe(true);
    expect(isTrustedRegistry(policy, 'registry.corp')).toBe(false);
    expect(isTrustedRegistry(policy, 'docker.io')).toBe(true);
    expect(isTrustedRegistry(registryPolicy('private'), 'docker.io')).toBe(false);
    expect(isTrustedRegistry(registryPolicy('docker.io'), 'docker.io')).toBe(true);
  });

  test('allows a name if all of its addresses are allowed, and metadata addresses in no notation', () => {
    const policy = registryPolicy('public,10.1.0.0/16,0.0.0.0/0');
    expect(areAllowed(policy, ['1.1.1.1', '10.1.2.3'])).toBe(true);
    expect(areAllowed(policy, ['1.1.1.1', '169.254.169.254'])).toBe(false);
    for (const address of [
      '169.254.169.254',
      '::ffff:169.254.169.254',
      '64:ff9b::a9fe:a9fe',
      '2002:a9fe:a9fe::',
      'fd00:ec2::254',
    ])
      expect(areAllowed(policy, [address]), address).toBe(false);
    expect(areAllowed(registryPolicy('169.254.169.254'), ['::ffff:169.254.169.254'])).toBe(true);
    expect(areAllowed(policy, [])).toBe(false);
  });

  test.each(['pubic', '10.0.0.0/33', '10.1.2.3/8', 'https://ghcr.io', 'a@b.example', '', '1.2.3.999'])(
    'refuses %j with a message',
    (text) => expect(parseRegistryAllow(text)).toEqual(expect.stringMatching(/\.$/)),
  );
});

describe('LOCAL_IMAGES', () => {
  test('holds at most 100 patterns', () => {
    expect(parseImagePatterns('a,'.repeat(100))).toHaveLength(100);
    expect(parseImagePatterns('a,'.repeat(101))).toMatch(/more than 100/);
  });

  test.each(['alpine:3', 'registry.corp:5000/a', `alpine@sha256:${'a'.repeat(64)}`])(
    'with the image %s applies to that image too',
    (image) => {
      expect(matchesImage(withImage(imagePatterns('x'), image), image)).toBe(true);
      expect(matchesImage(withImage(imagePatterns('x'), image), 'other:1')).toBe(false);
    },
  );

  test.each([
    ['*', 'registry.corp:5000/a/b:1', true],
    ['alpine:*', 'alpine:3', true],
    ['alpine:*', 'docker.io/library/alpine', true],
    ['alpine', 'alpine:3', true],
    ['alpine:3', 'alpine:3.19', false],
    ['alpine:3*', 'alpine:3.19', true],
    ['alpine:*', 'team/alpine:3', false],
    ['alpine:*', 'evil.example/library/alpine:3', false],
    ['registry.corp/base/*', 'registry.corp/base/app:1', true],
    ['registry.corp/base/*', 'registryxcorp/base/app:1', false],
    ['alpine:*', `alpine@sha256:${'a'.repeat(64)}`, true],
    ['alpine:3', `alpine@sha256:${'a'.repeat(64)}`, false],
    ['', 'alpine:3', false],
  ])('%j for %s: %s', (patterns, image, matches) => expect(matchesImage(imagePatterns(patterns), image)).toBe(matches));
});
