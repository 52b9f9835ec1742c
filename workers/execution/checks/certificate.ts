import type { X509Certificate } from 'node:crypto';
import { expiryOf } from './chain.ts';

const DAY_MS = 86_400_000;

/** Whole days until the certificate expires. */
export function daysLeft(certificate: X509Certificate): number {
  return Math.floor((expiryOf(certificate) - Date.now()) / DAY_MS);
}

/** Whom a certificate is for. */
export function subjectOf(certificate: X509Certificate): string {
  return nameIn(certificate.subject);
}

export function issuerOf(certificate: X509Certificate): string {
  return nameIn(certificate.issuer);
}

/** "valid from ... until ...". */
export function validityOf({ validFrom, validTo }: X509Certificate): string {
  return `valid from ${instant(validFrom)} until ${instant(validTo)}`;
}

/** A date from a certificate. An unparsable one stays as it is. */
export function instant(text: string): string {
  const date = new Date(text);
  return Number.isNaN(date.getTime()) ? text : date.toISOString();
}

/** The common names in "C=DE\nCN=example.com", or else the organisations. */
function nameIn(distinguished: string | undefined): string {
  const parts = (distinguished ?? '').split('\n');
  const of = (key: string) => parts.flatMap((part) => (part.startsWith(`${key}=`) ? [part.slice(key.length + 1)] : []));
  const names = of('CN');
  return (names.length > 0 ? names : of('O')).join(' and ') || 'nobody';
}

/** Node has no accessors for these two. */

/** How many intermediate certificates may follow that of this authority. Undefined: any number. */
export function pathLengthOf({ raw }: X509Certificate): number | undefined {
  const at = raw.indexOf(BASIC_CONSTRAINTS);
  if (at === -1) return undefined;
  let rest = raw.subarray(at + BASIC_CONSTRAINTS.length);
  if (startsWith(rest, TRUE)) rest = rest.subarray(TRUE.length); // critical
  const list = rest.subarray(2 + 2); // within an OCTET STRING and a SEQUENCE
  const length = startsWith(list, TRUE) ? list.subarray(TRUE.length) : list;
  return startsWith(length, SHORT_INTEGER) ? length[2] : undefined;
}

const BASIC_CONSTRAINTS = Buffer.from('0603551d13', 'hex');
const TRUE = Buffer.from('0101ff', 'hex');
const SHORT_INTEGER = Buffer.from('0201', 'hex');

function startsWith(bytes: Buffer, beginning: Buffer): boolean {
  return bytes.subarray(0, beginning.length).equals(beginning);
}

/** Whether the certificate is signed with MD5 or SHA-1, for which signatures can be forged. */
export function isWeaklySigned({ raw }: X509Certificate): boolean {
  const algorithm = after(raw, contentAt(raw, 0)); // behind the first part of the certificate
  const id = contentAt(raw, algorithm);
  return WEAK_SIGNATURES.some((weak) => raw.subarray(id, id + weak.length).equals(weak));
}

const WEAK_SIGNATURES = [
  '06092a864886f70d010104', // MD5 with RSA
  '06092a864886f70d010105', // SHA-1 with RSA
  '06072a8648ce3d0401', // SHA-1 with ECDSA
  '06072a8648ce380403', // SHA-1 with DSA
].map((hex) => Buffer.from(hex, 'hex'));

/** Where the content of the DER value at `at` begins. */
function contentAt(der: Buffer, at: number): number {
  const length = der[at + 1] ?? 0;
  return at + 2 + (length < 0x80 ? 0 : length & 0x7f);
}

/** Where the DER value at `at` ends. */
function after(der: Buffer, at: number): number {
  const length = der[at + 1] ?? 0;
  const content = contentAt(der, at);
  return content + (length < 0x80 ? length : der.readUIntBE(at + 2, Math.min(6, content - at - 2)));
}

const RSA_BITS_MIN = 2_048;

/** Whether OpenSSL may find the key too short. */
export function hasShortKey({ publicKey }: X509Certificate): boolean {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = publicKey;
  return type === 'rsa' && (details?.modulusLength ?? RSA_BITS_MIN) < RSA_BITS_MIN;
}
