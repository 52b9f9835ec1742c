import { createHash, type X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import tls, { type SecureContext } from 'node:tls';
import { LRUCache } from 'lru-cache';
import { certificatesIn } from '../../../domain/payload/certificates.ts';
import type { FindTrusted } from './chain.ts';

/** The authorities that a check trusts, and the certificate that it shows. */
export interface Trust {
  /** Undefined: that of the process. */
  context: SecureContext | undefined;
  find: FindTrusted;
  /** The authorities in PEM, if they are others than those of the process. */
  ca: string | undefined;
  hasClientCertificate: boolean;
}

interface Material {
  /** The authorities in PEM. Without them, those that the process trusts. */
  ca?: string | undefined;
  client?: { certificate: string; key: string } | undefined;
}

/**
 * Without DHE, which browsers have dropped: its server chooses the size of the group, and with a
 * large one a handshake takes the event loop seconds.
 */
export const CIPHERS = `${tls.DEFAULT_CIPHERS}:!kDHE`;

/** A context with a few authorities takes about 30 KB of native memory. */
const CONTEXTS_MAX = 500;
/** By digest: a key is not to stay in memory as part of the cache's key. */
const contexts = new LRUCache<string, Trust>({ max: CONTEXTS_MAX });

/** What the process trusts: the well-known authorities and NODE_EXTRA_CA_CERTS. */
export const SYSTEM_TRUST: Trust = { context: undefined, ca: undefined, find: systemFind, hasClientCertificate: false };

/**
 * What a check with these authorities and this certificate trusts. A context takes milliseconds to
 * make, so the same material gets the same one.
 */
export function trustOf({ ca, client }: Material): Trust {
  if (ca === undefined && client === undefined) return SYSTEM_TRUST;
  const key = createHash('sha256')
    .update(JSON.stringify([ca, client?.certificate, client?.key]))
    .digest('base64');
  const known = contexts.get(key);
  if (known !== undefined) return known;
  const made = {
    context: tls.createSecureContext({
      ciphers: CIPHERS,
      // What the author trusts is trusted, be it an intermediate certificate or a server's own.
      ...(ca === undefined ? {} : { ca, allowPartialTrustChain: true }),
      ...(client === undefined ? {} : { cert: client.certificate, key: client.key }),
    }),
    ca,
    find: ca === undefined ? systemFind : findIn(certificatesIn(ca)),
    hasClientCertificate: client !== undefined,
  };
  contexts.set(key, made);
  return made;
}

function findIn(certificates: X509Certificate[]): FindTrusted {
  return (subject) => certificates.filter((one) => one.subject === subject);
}

let system: Map<string, X509Certificate[]> | undefined;

/** Reads the authorities of the process at its first use: some 150, which takes milliseconds. */
function systemFind(subject: string): readonly X509Certificate[] {
  if (system === undefined) {
    system = new Map();
    for (const one of systemAuthorities().flatMap(certificatesIn))
      system.set(one.subject, [...(system.get(one.subject) ?? []), one]);
  }
  return system.get(subject) ?? [];
}

/** The authorities that Node trusts by default, in PEM. */
function systemAuthorities(): readonly string[] {
  const { NODE_EXTRA_CA_CERTS: file = '' } = process.env;
  return [...tls.rootCertificates, ...(file === '' ? [] : [textOf(file)])];
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return ''; // Node has warned at its start, and trusts nothing from it
  }
}
