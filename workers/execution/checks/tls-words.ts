/** The versions of HTTP that a check offers in the handshake (ALPN), the one it prefers first. */
export type HttpProtocols = readonly ('h2' | 'http/1.1')[];

/** What is known of a handshake that failed, or of a connection that broke after one. */
export interface TlsFault {
  error: NodeJS.ErrnoException;
  /** How much the server had sent. */
  bytesRead: number;
  /** The name that the check asked for. Undefined where it asked for none. */
  serverName: string | undefined;
  /** The versions of HTTP that the check offered. */
  protocols: HttpProtocols;
  /** Whether the check shows a client certificate. */
  hasClientCertificate: boolean;
  /** Whether the server has asked for one, as far as that is known. */
  asksForClientCertificate?: boolean;
}

/** What happened, in words, and what was expected in its place. */
export interface TlsWords {
  what: string;
  expected: string;
}

const CLIENT_WANTED = 'it wants a client certificate, and the check has none (client_certificate)';
const CLIENT_REFUSED = 'it refuses the client certificate of the check';
const HANDSHAKE = 'A handshake was expected';

/** A record that holds only an alert. */
const ALERT_BYTES = 7;

/** By the reasons of OpenSSL (`reasonOf`), or by the codes of the system. */
const WORDS: Record<string, string> = {
  ALERT_HANDSHAKE_FAILURE: 'it has no cipher, no curve or no signature in common with the check',
  ALERT_INSUFFICIENT_SECURITY: 'it wants stronger ciphers than those that the check offers',
  ALERT_INTERNAL_ERROR: 'it reports a fault of its own',
  ALERT_USER_CANCELLED: 'it gave the handshake up',
  ALERT_INAPPROPRIATE_FALLBACK: 'it refuses the version of TLS',
  UNSAFE_LEGACY_RENEGOTIATION_DISABLED: 'it lacks the protection of renegotiations (RFC 5746)',
  DH_KEY_TOO_SMALL: 'its Diffie-Hellman key is too short to be safe',
  BAD_DH_VALUE: 'its Diffie-Hellman key is not valid',
  WRONG_CIPHER_RETURNED: 'it chose a cipher that the check does not offer',
  UNKNOWN_CIPHER_RETURNED: 'it chose a cipher that the check does not know',
  WRONG_CURVE: 'it chose a curve that the check does not offer',
  WRONG_SIGNATURE_TYPE: 'it signed in a way that the check does not offer',
  BAD_SIGNATURE: 'it does not hold the key of its certificate: its signature is wrong',
  EXCESSIVE_MESSAGE_SIZE: 'it sends a message that is too long, perhaps with too many certificates',
  DIGEST_CHECK_FAILED: 'the handshake was changed on its way',
  DECRYPTION_FAILED_OR_BAD_RECORD_MAC: 'the data was changed on its way',
  ECONNRESET: 'the connection was reset or closed',
  EPIPE: 'the connection was closed',
  ETIMEDOUT: 'the connection was lost',
};

const TOO_OLD = [
  'ALERT_PROTOCOL_VERSION',
  'UNSUPPORTED_PROTOCOL',
  'WRONG_SSL_VERSION',
  'VERSION_TOO_LOW',
  'UNKNOWN_SSL_VERSION',
  'NO_PROTOCOLS_AVAILABLE',
];
/** What servers say of a client's certificate, or of its absence. */
const CLIENT_CERTIFICATE = [
  'ALERT_CERTIFICATE_REQUIRED',
  'ALERT_NO_CERTIFICATE',
  'ALERT_BAD_CERTIFICATE',
  'ALERT_UNSUPPORTED_CERTIFICATE',
  'ALERT_CERTIFICATE_REVOKED',
  'ALERT_CERTIFICATE_EXPIRED',
  'ALERT_CERTIFICATE_UNKNOWN',
  'ALERT_UNKNOWN_CA',
  'ALERT_ACCESS_DENIED',
  'ALERT_DECRYPT_ERROR',
  'ALERT_HANDSHAKE_FAILURE', // TLS 1.2, after the server's certificate
];
/** What a check's own TLS says of bytes that are none. */
const NOT_TLS = [
  'WRONG_VERSION_NUMBER',
  'PACKET_LENGTH_TOO_LONG',
  'DATA_LENGTH_TOO_LONG',
  'HTTP_REQUEST',
  'HTTPS_PROXY_REQUEST',
  'UNEXPECTED_MESSAGE',
  'UNEXPECTED_RECORD',
  'BAD_RECORD_TYPE',
  'INVALID_ALERT',
  'UNKNOWN_ALERT_TYPE',
  'RECORD_LAYER_FAILURE',
  'LENGTH_MISMATCH',
  'LENGTH_TOO_SHORT',
  'BAD_LENGTH',
  'BAD_PACKET',
];

/** The fault of a handshake in plain words. */
export function handshakeWords(fault: TlsFault): TlsWords {
  const { error, serverName } = fault;
  const { code = '' } = error;
  const reason = reasonOf(code);
  const client = clientCertificateWords(fault);
  const said = (what: string, expected = HANDSHAKE): TlsWords => ({ what: `${what} (${code})`, expected });

  if (TOO_OLD.includes(reason))
    return said('it speaks no version of TLS that is safe today', 'TLS 1.2 or 1.3 was expected');
  if (reason === 'ALERT_NO_APPLICATION_PROTOCOL') return said(...protocolWords(fault.protocols));
  if (reason === 'ALERT_UNRECOGNIZED_NAME') {
    const name =
      serverName === undefined ? 'it wants a name, and an address is none' : `it does not know the name ${serverName}`;
    return said(name, 'A name that it serves was expected');
  }
  if (client !== undefined) return said(client);
  if (NOT_TLS.includes(reason))
    return said('what answers there does not speak TLS', 'TLS was expected; http:// is for an endpoint without it');
  // In TLS 1.2 some servers just close when they refuse a certificate.
  const may = fault.hasClientCertificate && fault.bytesRead > ALERT_BYTES && !code.startsWith('ERR_SSL_');
  return said(`${WORDS[reason] ?? plainReason(error)}${may ? ', perhaps as it refuses the client certificate' : ''}`);
}

function protocolWords(offered: HttpProtocols): [what: string, expected: string] {
  const [first, second] = offered.map((name) => (name === 'h2' ? 'HTTP/2' : 'HTTP/1.1'));
  if (second !== undefined)
    return [`it speaks neither ${first} nor ${second}`, `${first} or ${second} over TLS was expected`];
  const perhaps = first === 'HTTP/1.1' ? ', perhaps only HTTP/2' : '';
  return [`it does not speak ${first}${perhaps}`, `${first} over TLS was expected`];
}

/**
 * The fault of a connection after its handshake in plain words. Undefined for what TLS has no words
 * for. In TLS 1.3 a server refuses a client's certificate only then, and some just close.
 */
export function connectionWords(fault: TlsFault): string | undefined {
  const { error, asksForClientCertificate = false, hasClientCertificate } = fault;
  const { code = '' } = error;
  if (code.startsWith('ERR_SSL_'))
    return `${clientCertificateWords(fault) ?? WORDS[reasonOf(code)] ?? plainReason(error)} (${code})`;
  if (!asksForClientCertificate) return undefined;
  const why = hasClientCertificate
    ? 'perhaps the server refuses the client certificate of the check'
    : 'the server had asked for a client certificate, which the check lacks';
  return `${WORDS[reasonOf(code)] ?? error.message} (${code === '' ? '' : `${code}; `}${why})`;
}

/** A server that has sent only an alert has not come to the client's certificate. */
function clientCertificateWords({ error, bytesRead, hasClientCertificate }: TlsFault): string | undefined {
  const reason = reasonOf(error.code ?? '');
  if (bytesRead <= ALERT_BYTES || !CLIENT_CERTIFICATE.includes(reason)) return undefined;
  return hasClientCertificate ? CLIENT_REFUSED : CLIENT_WANTED;
}

/**
 * OpenSSL's reason in a code of Node. An alert of the server begins with the version that defined
 * it, in Node 20, or with "SSL/TLS", in Node 24.
 */
function reasonOf(code: string): string {
  return code.replace(/^ERR_SSL_/, '').replace(/^(?:SSLV3|TLSV1|TLSV13|SSL\/TLS)_(?:ALERT_)?/, 'ALERT_');
}

/** OpenSSL's reason in lower case, without its numbers, files and versions. */
function plainReason(error: NodeJS.ErrnoException): string {
  const reason = 'reason' in error && typeof error.reason === 'string' ? error.reason : undefined;
  if (reason === undefined) return error.message;
  const alert = /^(?:sslv3|tlsv1|tlsv13|ssl\/tls) alert (.*)$/.exec(reason)?.[1];
  return alert === undefined ? `the handshake failed: ${reason}` : `it ended the handshake with the alert "${alert}"`;
}
