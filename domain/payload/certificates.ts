import { X509Certificate } from 'node:crypto';

const CERTIFICATE = /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----[^-]*-----END (?:X509 |TRUSTED )?CERTIFICATE-----/g;

/** The certificates in a PEM text. One that cannot be read is left out, as Node does. */
export function certificatesIn(pem: string): X509Certificate[] {
  return (pem.match(CERTIFICATE) ?? []).flatMap((one) => {
    try {
      return [new X509Certificate(one)];
    } catch {
      return []; // a caller that must know counts them
    }
  });
}
