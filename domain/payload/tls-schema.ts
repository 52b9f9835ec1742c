import { createPrivateKey, type KeyObject } from 'node:crypto';
import { z } from 'zod';
import { byteCount, textProblem } from '../text.ts';
import { certificatesIn } from './certificates.ts';
import { givenSecret, writtenSecret } from './pairs.ts';
import type { GivenSecret, SealedSecret } from './secret.ts';
import { text, typeError } from './value-schema.ts';

/** What values the fields of TLS take. Messages are whole sentences, and never show a key. */

/** The certificate that a check shows. `S` stands for a secret, as in payload.ts. */
export interface ClientCertificate<S = SealedSecret> {
  certificate: string;
  key: string | S;
}

const PEM_BYTES_MAX = 32 * 1024;
const KEY_BYTES_MAX = 16 * 1024;
/** A handshake with the largest takes milliseconds, and 3 s with four times as many bits. */
const KEY_BITS_MAX = 4_096;

export const authorities = certificates('The authorities (tls_ca)');

export const clientCertificate = z
  .strictObject(
    { certificate: certificates('The client certificate'), key: privateKey() },
    { error: typeError('The client certificate', 'an object: certificate and key') },
  )
  .superRefine(({ certificate, key: { value } }, context) => {
    const [own] = certificatesIn(certificate);
    // A stored key is kept only with its certificate.
    const key = value === undefined ? undefined : keyIn(value);
    if (own === undefined || key === undefined || own.checkPrivateKey(key)) return;
    context.addIssue({
      code: 'custom',
      path: ['key'],
      message: 'The key must be that of the first certificate: it belongs to another one.',
    });
  });

/** PEM text with certificates and nothing secret: anybody who may read the payload sees it. */
function certificates(subject: string) {
  return text(subject).superRefine((pem, context) => {
    const report = (message: string) => context.addIssue({ code: 'custom', message });
    if (byteCount(pem) > PEM_BYTES_MAX) return report(`${subject} must be at most ${PEM_BYTES_MAX} bytes.`);
    if (/PRIVATE KEY-----/.test(pem)) return report(`${subject} must hold no private key: it can be read back.`);
    const written = pem.match(/-----BEGIN /g)?.length ?? 0;
    const readable = certificatesIn(pem).length;
    if (readable === 0 || readable < written)
      report(
        `${subject} must be certificates in PEM form, each from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----.`,
      );
  });
}

/** A key is a secret, whether the document says so or not. */
function privateKey() {
  return z.unknown().transform((written, context): GivenSecret => {
    const report = (message: string) => {
      context.addIssue({ code: 'custom', message });
      return z.NEVER;
    };
    const secret = writtenSecret(written);
    if (secret !== undefined && (secret.value === undefined || secret.value === null)) return givenSecret(undefined);
    const given = secret === undefined ? written : secret.value;
    if (given === undefined || given === null)
      return report('The key is missing: it must be a private key in PEM form.');
    if (typeof given !== 'string') return report('The key must be text: a private key in PEM form.');
    const problem = textProblem(given);
    if (problem) return report(`The key ${problem}.`);
    if (byteCount(given) > KEY_BYTES_MAX) return report(`The key must be at most ${KEY_BYTES_MAX} bytes.`);
    if (/ENCRYPTED/.test(given))
      return report('The key must not be encrypted with a passphrase: it is stored encrypted.');
    const key = keyIn(given);
    if (key === undefined) return report('The key must be a private key in PEM form.');
    const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
    if (bits > KEY_BITS_MAX) return report(`The key has ${bits} bits: an RSA key must have at most ${KEY_BITS_MAX}.`);
    return givenSecret(given);
  });
}

function keyIn(pem: string): KeyObject | undefined {
  try {
    return createPrivateKey(pem);
  } catch {
    return undefined;
  }
}
