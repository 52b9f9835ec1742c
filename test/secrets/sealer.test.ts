import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { UnreadableSecret } from '../../domain/payload/secret.ts';
import { createSealer } from '../../platform/sealer.ts';

const key = randomBytes(32);
const sealer = createSealer(key);

describe('a sealed secret', () => {
  test('opens unchanged, whatever it contains', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string(), (text, place) => {
        const wellFormed = Buffer.from(text).toString();
        expect(sealer.open(sealer.seal(wellFormed, place), place)).toBe(wellFormed);
      }),
    );
  });

  test('is a different text each time, and reveals nothing of the secret', () => {
    const sealed = Array.from({ length: 1_000 }, () => sealer.seal('hunter2-hunter2', 'a'));
    expect(new Set(sealed).size).toBe(1_000);
    expect(sealed.join()).not.toContain('hunter2');
    expect(sealed.join()).not.toContain(Buffer.from('hunter2-hunter2').toString('base64url'));
  });

  test('does not open in another place', () => {
    expect(() => sealer.open(sealer.seal('secret', 'mine'), 'yours')).toThrow(UnreadableSecret);
  });

  test('does not open if one of its bits is changed', () => {
    const sealed = sealer.seal('secret', 'a');
    const bodyAt = sealed.lastIndexOf('.') + 1;
    const bytes = Buffer.from(sealed.slice(bodyAt), 'base64url');
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes);
      changed.writeUInt8(changed.readUInt8(at) ^ 1, at);
      expect(() => sealer.open(sealed.slice(0, bodyAt) + changed.toString('base64url'), 'a')).toThrow(UnreadableSecret);
    }
    for (const broken of ['', 's1', sealed.slice(0, bodyAt), `${sealed.slice(0, bodyAt)}AA`, 'plain text'])
      expect(() => sealer.open(broken, 'a')).toThrow(UnreadableSecret);
  });

  test('opens under an old key while that key is configured, and is distinguishable from one under the present key', () => {
    const renewed = createSealer(randomBytes(32), [key]);
    const sealed = sealer.seal('secret', 'a');
    expect(renewed.open(sealed, 'a')).toBe('secret');
    expect([renewed.isPresent(sealed), renewed.isPresent(renewed.seal('secret', 'a'))]).toEqual([false, true]);
    expect(() => createSealer(randomBytes(32)).open(sealed, 'a')).toThrow(
      /is encrypted under the key [0-9a-f]{12}, which is neither SECRET_KEY nor one of SECRET_KEYS_OLD\.$/,
    );
  });

  test('has the same digest of a text each time under a key, another under another key, and old digests are recognized', () => {
    const renewed = createSealer(randomBytes(32), [key]);
    const [digest] = sealer.digests('secret');
    expect(sealer.digests('secret')).toEqual([digest]);
    expect(sealer.digests('secreT')).not.toContainEqual(digest);
    expect(renewed.digests('secret').map((other) => other.equals(digest))).toEqual([false, true]);
  });
});
