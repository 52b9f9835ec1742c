/**
 * Why a certificate is refused, by the error codes of Node. A code that is missing here is shown as
 * it is.
 */
export const TLS_REFUSALS: Record<string, string> = {
  CERT_CHAIN_TOO_LONG: 'certificate has too many others above it',
  CERT_HAS_EXPIRED: 'certificate has expired',
  CERT_NOT_YET_VALID: 'certificate is not valid yet',
  CERT_REVOKED: 'certificate is revoked',
  CERT_SIGNATURE_FAILURE: 'signature of the certificate is wrong',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'certificate is signed by itself, and not trusted here',
  ERR_TLS_CERT_ALTNAME_INVALID: 'certificate is for other names',
  INVALID_CA: 'certificate may not issue others',
  INVALID_PURPOSE: 'certificate is not for servers',
  UNABLE_TO_DECRYPT_CERT_SIGNATURE: 'signature of the certificate cannot be read',
  UNSPECIFIED: 'certificate, or one above it, breaks a rule such as a constraint on names',
  PATH_LENGTH_EXCEEDED: 'certificate allows fewer certificates below it',
  SELF_SIGNED_CERT_IN_CHAIN: 'authority of the certificate is not trusted here',
  UNABLE_TO_GET_ISSUER_CERT: 'authority of the certificate is not known here',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'authority of the certificate is not known here',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'authority of the certificate is not known here',
};

/** The refusals that the setting with the authorities can remedy. */
const UNKNOWN_AUTHORITY = [
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
];

/** The codes by the text of an error: libraries often keep nothing else. */
const MESSAGES: [RegExp, string][] = [
  [/self[- ]signed certificate in certificate chain/i, 'SELF_SIGNED_CERT_IN_CHAIN'],
  [/self[- ]signed certificate/i, 'DEPTH_ZERO_SELF_SIGNED_CERT'],
  [/unable to get local issuer certificate/i, 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY'],
  [/unable to verify the first certificate/i, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
  [/certificate has expired/i, 'CERT_HAS_EXPIRED'],
  [/certificate is not yet valid/i, 'CERT_NOT_YET_VALID'],
  [/does not match certificate's altnames/i, 'ERR_TLS_CERT_ALTNAME_INVALID'],
];

/** What the other side's TLS alert says about our certificate, or about its absence. */
const REFUSES_OURS =
  /alert (certificate (required|unknown|expired|revoked)|bad certificate|unsupported certificate|unknown ca|handshake failure|access denied)/i;

const CAUSES_MAX = 10;

/**
 * What a user can do about a failed TLS handshake with a part, as a sentence that names the part's
 * settings. Undefined when the error is of another kind. `prefix` begins the names of the settings,
 * for example KAFKA.
 */
export function tlsAdvice(error: unknown, prefix: string): string | undefined {
  for (const { code, message } of chainOf(error)) {
    const refusal = TLS_REFUSALS[code] ? code : MESSAGES.find(([pattern]) => pattern.test(message))?.[1];
    if (refusal !== undefined) return `Its ${TLS_REFUSALS[refusal]}. ${remedyFor(refusal, prefix)}`;
    if (REFUSES_OURS.test(message))
      return `It refuses our certificate, or asks for one: set ${prefix}_TLS_CERT and ${prefix}_TLS_KEY to one that its authority has signed.`;
    if (
      /wrong version number|packet length too long|unknown protocol|does not support SSL|ECONNRESET before secure TLS/i.test(
        message,
      )
    )
      return 'It does not speak TLS at this address.';
  }
  return undefined;
}

function remedyFor(refusal: string, prefix: string): string {
  if (UNKNOWN_AUTHORITY.includes(refusal)) {
    return `Set ${prefix}_TLS_CA to the certificate of the authority that signs it (or ${prefix}_TLS_CA_FILE to its file).`;
  }
  if (refusal === 'ERR_TLS_CERT_ALTNAME_INVALID') return 'Use a name that is in its certificate.';
  return 'Give it a certificate that is valid now.';
}

function* chainOf(error: unknown): Generator<{ code: string; message: string }> {
  const open = [error];
  for (let seen = 0; open.length > 0 && seen < CAUSES_MAX; seen += 1) {
    const current = open.shift();
    if (!(current instanceof Error)) continue;
    yield { code: 'code' in current ? String(current.code) : '', message: current.message };
    if (current.cause !== undefined) open.push(current.cause);
    if ('originalError' in current) open.push(current.originalError);
    if (current instanceof AggregateError) open.push(...current.errors);
  }
}
