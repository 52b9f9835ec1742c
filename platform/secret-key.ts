const KEY_BYTES = 32;

/** Whether `text` is a key: 32 bytes in hex or base64. */
export function isSecretKey(text: string): boolean {
  return /^[0-9a-fA-F]{64}$/.test(text) || /^[A-Za-z0-9+/]{43}=?$/.test(text);
}

/** The bytes of a key that `isSecretKey` accepts. */
export function parseSecretKey(text: string): Buffer {
  return Buffer.from(text, text.length === KEY_BYTES * 2 ? 'hex' : 'base64');
}
