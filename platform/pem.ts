import { createPrivateKey, X509Certificate } from 'node:crypto';

/** The material for a TLS connection to a part, as PEM text. */
export interface TlsMaterial {
  /** The authorities that sign the part's certificate. If absent, those that Node trusts. */
  ca?: string;
  /** Our own certificate, with those between it and its authority, for a part that requires one. */
  cert?: string;
  /** The private key of `cert`. */
  key?: string;
}

/** Why the text is not one or several certificates in PEM form. Undefined if it is. */
export function certificateProblem(text: string): string | undefined {
  const blocks = certificatesIn(text);
  if (blocks.length === 0) return 'it holds no "-----BEGIN CERTIFICATE-----"';
  try {
    for (const block of blocks) new X509Certificate(block);
    return undefined;
  } catch (error) {
    return `a certificate in it cannot be read (${messageOf(error)})`;
  }
}

/**
 * Why the text is not a private key in PEM form that works without a passphrase. Undefined if it
 * is.
 */
export function privateKeyProblem(text: string): string | undefined {
  if (!text.includes('PRIVATE KEY-----')) return 'it holds no "-----BEGIN PRIVATE KEY-----"';
  if (text.includes('ENCRYPTED')) return 'it is encrypted with a passphrase';
  try {
    createPrivateKey(text);
    return undefined;
  } catch (error) {
    return `the key in it cannot be read (${messageOf(error)})`;
  }
}

/** Whether `key` is the private key of the first certificate in `cert`. Both are well-formed. */
export function isKeyOf(key: string, cert: string): boolean {
  const [first] = certificatesIn(cert);
  return first !== undefined && new X509Certificate(first).checkPrivateKey(createPrivateKey(key));
}

function certificatesIn(text: string): string[] {
  return text.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
