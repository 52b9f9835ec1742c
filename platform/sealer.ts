import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync, randomBytes } from 'node:crypto';
import { type Sealer, UnreadableSecret } from '../domain/payload/secret.ts';

/** A Sealer that also knows under which of its keys a text is sealed. */
export interface KeyedSealer extends Sealer {
  presentKeyId: string;
  /** The ids of the present key and of the old ones. */
  keyIds: string[];
  /** The id of the key that it is sealed under. */
  keyIdOf(sealed: string): string;
  /** Whether it is sealed under the present key. */
  isPresent(sealed: string): boolean;
}

const CIPHER = 'aes-256-gcm';
// GCM uses a nonce of this length directly. Random nonces stay distinct for 2^32 secrets under one
// key.
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const KEY_ID_LENGTH = 12;
const VERSION = 's1';

/**
 * Seals under `key`, and opens texts that are sealed under it or under one of the `old` keys. A
 * sealed text is VERSION.KEY_ID.BASE64URL(nonce, ciphertext, tag). The version, the key id and the
 * place are authenticated with it (AAD).
 */
export function createSealer(key: Buffer, old: readonly Buffer[] = []): KeyedSealer {
  const presentId = keyId(key);
  const digestKeys: [Buffer, ...Buffer[]] = [digestKey(key), ...old.map(digestKey)];
  const keys = new Map([...old, key].map((each) => [keyId(each), each]));

  return {
    seal(text, place) {
      const head = `${VERSION}.${presentId}`;
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES });
      cipher.setAAD(Buffer.from(`${head}\n${place}`));
      const parts = [nonce, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()];
      return `${head}.${Buffer.concat(parts).toString('base64url')}`;
    },

    open(sealed, place) {
      const [version = '', id = '', body = ''] = sealed.split('.');
      const found = version === VERSION ? keys.get(id) : undefined;
      if (found === undefined)
        throw new UnreadableSecret(
          `A secret of this workflow cannot be read: it is encrypted under the key ${id || '(none)'}, which is neither SECRET_KEY nor one of SECRET_KEYS_OLD.`,
        );
      const bytes = Buffer.from(body, 'base64url');
      try {
        const nonce = bytes.subarray(0, NONCE_BYTES);
        const decipher = createDecipheriv(CIPHER, found, nonce, { authTagLength: TAG_BYTES });
        decipher.setAAD(Buffer.from(`${version}.${id}\n${place}`));
        decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
        const text = decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES));
        return Buffer.concat([text, decipher.final()]).toString('utf8');
      } catch {
        throw new UnreadableSecret(
          'A secret of this workflow cannot be read: it was changed, or moved from another place.',
        );
      }
    },

    digests(text) {
      const digest = (each: Buffer) => createHmac('sha256', each).update(text).digest();
      const [present, ...former] = digestKeys;
      return [digest(present), ...former.map(digest)];
    },

    presentKeyId: presentId,
    keyIds: [...keys.keys()],
    keyIdOf: (sealed) => sealed.split('.')[1] ?? '',
    isPresent: (sealed) => sealed.startsWith(`${VERSION}.${presentId}.`),
  };
}

/** Derives a separate key, so that no key serves two purposes. */
function digestKey(key: Buffer): Buffer {
  return Buffer.from(hkdfSync('sha256', key, '', 'chronoverse digests', key.length));
}

/** Tells keys apart, and reveals nothing about them. */
function keyId(key: Buffer): string {
  return createHash('sha256').update('chronoverse secret key\n').update(key).digest('hex').slice(0, KEY_ID_LENGTH);
}
