import { inAsciiJson, quotedForms } from './writers.ts';

/** One character per byte. */
type Latin1 = string;

/**
 * Shorter secrets are not masked: the mask would hide half of the text, and its gaps would reveal
 * the secret.
 */
export const MASKED_BYTES_MIN = 4;
/**
 * How many lines of secrets are searched in other forms too. Further lines are searched only as
 * they are. A key has 30 to 50 lines.
 */
const OTHER_FORMS_LINES_MAX = 500;

/**
 * The texts that reveal `secrets` in a log: each line as it is, and as common programs write it.
 * They quote it in shells and languages, or write it in JSON (also nested), in a URL or a form, in
 * HTML, or in base64. For secrets of letters and digits all forms but base64 are equal, so that few
 * are left.
 */
export function maskForms(secrets: readonly string[]): Latin1[] {
  const lines = [...new Set(secrets.flatMap((secret) => secret.split(/\r\n|\r|\n/)))].filter(isLong);
  const others = lines.slice(0, OTHER_FORMS_LINES_MAX).flatMap(otherForms);
  return [...new Set([...lines.map(toLatin1), ...others, ...secrets.flatMap(wrappedBase64)])].filter(
    (form) => form.length >= MASKED_BYTES_MIN,
  );
}

/** The secrets within a header's value: a server that refuses `Bearer abc` may print `abc`. */
export function credentialsIn(header: string): string[] {
  const [, scheme, credentials] = /^([A-Za-z][A-Za-z0-9-]*) +(\S.*)$/.exec(header.trim()) ?? [];
  if (scheme === undefined || credentials === undefined) return [];
  if (scheme.toLowerCase() !== 'basic') return [credentials];
  const decoded = Buffer.from(credentials, 'base64').toString();
  return [credentials, decoded, decoded.slice(decoded.indexOf(':') + 1)];
}

function isLong(line: string): boolean {
  return Buffer.byteLength(line) >= MASKED_BYTES_MIN;
}

function otherForms(line: string): Latin1[] {
  const texts = [line, ...misread(line)];
  const written = texts.flatMap((text) => [text, ...quotedForms(text), ...inUrls(text), ...inHtml(text)]);
  const inJson = written.flatMap((form) => [JSON.stringify(form).slice(1, -1), inAsciiJson(form)]);
  return [...written.map(toLatin1), ...inJson.map(toLatin1), ...base64(line)];
}

/** UTF-8 that was read as Latin-1, as happens to headers, and the reverse. */
function misread(text: string): string[] {
  const bytes = Buffer.from(text);
  if (bytes.length === text.length) return []; // ASCII
  return [bytes.toString('latin1'), Buffer.from(text, 'latin1').toString()];
}

function inUrls(given: string): string[] {
  const text = Buffer.from(given).toString(); // encodeURI throws on half a surrogate pair
  const component = encodeURIComponent(text);
  const strict = component.replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
  const form = new URLSearchParams({ '': text }).toString().slice(1);
  const forms = [component, strict, strict.replaceAll('%20', '+'), form, encodeURI(text)];
  return [...forms, ...forms.map((one) => one.replace(/%[0-9A-F]{2}/g, (code) => code.toLowerCase()))];
}

function inHtml(text: string): string[] {
  const tags = text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
  const double = tags.replaceAll('"', '&quot;');
  return [
    tags,
    double,
    double.replaceAll("'", '&#39;'),
    double.replaceAll("'", '&#x27;'),
    double.replaceAll("'", '&apos;'),
    tags.replaceAll('"', '&#34;').replaceAll("'", '&#39;'),
  ];
}

/**
 * The base64 of a secret alone, and the parts that are equal in every text that contains it: one
 * for each offset within three bytes. Up to two characters at each end stay visible, because they
 * also hold bits of the neighbours.
 */
function base64(line: string): Latin1[] {
  const bytes = Buffer.from(line);
  const within = [0, 1, 2].map((shift) => {
    const encoded = Buffer.concat([Buffer.alloc(shift), bytes]).toString('base64');
    return encoded.slice(shift === 0 ? 0 : shift + 1, Math.floor(((shift + bytes.length) * 8) / 6));
  });
  const alone = bytes.toString('base64');
  const forms = [alone, alone.replace(/=+$/, ''), ...within];
  return [...forms, ...forms.map((form) => form.replaceAll('+', '-').replaceAll('/', '_'))];
}

/** The line lengths of base64 in Ruby, in OpenSSL, and in coreutils, Python and mails. */
const BASE64_COLUMNS = [60, 64, 76];
/** The base64 of a longer secret is searched in one line only. */
const WRAPPED_BYTES_MAX = 8 * 1024;

/**
 * The lines of a whole secret's base64. They leave out the bits that depend on what follows the
 * secret, such as a newline.
 */
function wrappedBase64(secret: string): Latin1[] {
  const bytes = Buffer.from(secret.replace(/[\r\n]+$/, '')).subarray(0, WRAPPED_BYTES_MAX);
  const encoded = bytes.toString('base64').slice(0, Math.floor((bytes.length * 8) / 6));
  return BASE64_COLUMNS.filter((columns) => encoded.length > columns).flatMap((columns) =>
    Array.from({ length: Math.ceil(encoded.length / columns) }, (_, n) =>
      encoded.slice(n * columns, (n + 1) * columns),
    ),
  );
}

function toLatin1(text: string): Latin1 {
  return Buffer.from(text).toString('latin1');
}
