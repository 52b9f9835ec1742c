import type { LogFn } from 'pino';

/**
 * The most bytes of a line, so that collectors of logs (syslog's 8 KiB, many a viewer's less) take
 * it whole. What follows leaves room for the time, the level and the names of the fields.
 */
export const LINE_BYTES_MAX = 4_096;
const MESSAGE_BYTES_MAX = 1_200;
const STACK_BYTES_MAX = 1_000;
const FIELD_BYTES_MAX = 500;
const OBJECT_BYTES_MAX = 1_500;
const FIELDS_BYTES_MAX = 2_400;

/** The fields of a line without what makes it long: the beginnings of texts, and of the rest. */
export function shorten(fields: Record<string, unknown>): Record<string, unknown> {
  let bytesLeft = FIELDS_BYTES_MAX;
  const short: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    if (name === 'after') continue; // for the outage log alone
    const kept = value instanceof Error ? shortenError(value) : shortenValue(value);
    bytesLeft -= Buffer.byteLength(`${name}":,${JSON.stringify(kept)}`) + 1;
    if (bytesLeft < 0) return { ...short, cut: true };
    short[name] = kept;
  }
  return short;
}

/** The arguments of a log method with a message of bounded length. */
export function shortenMessage(args: Parameters<LogFn>): Parameters<LogFn> {
  return args.map((arg: unknown) => (typeof arg === 'string' ? cut(arg, MESSAGE_BYTES_MAX) : arg)) as Parameters<LogFn>;
}

/** What a line shows of a value. Lists and objects stay what they are, with their first items. */
function shortenValue(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return shortenItem(value);
  const items = Object.entries(value).map(([name, item]) => [name, shortenItem(item)] as const);
  let bytesLeft = OBJECT_BYTES_MAX;
  const kept = items.filter(([name, item]) => {
    bytesLeft -= Buffer.byteLength(`${name}"":,${JSON.stringify(item)}`);
    return bytesLeft >= 0;
  });
  return Array.isArray(value) ? kept.map(([, item]) => item) : Object.fromEntries(kept);
}

/** An item of a list or an object. Of a deep one that is long, a line shows its length alone. */
function shortenItem(value: unknown): unknown {
  if (typeof value === 'string') return cut(value, FIELD_BYTES_MAX);
  if (typeof value === 'bigint') return String(value);
  if (typeof value !== 'object' || value === null) return value;
  try {
    const text = JSON.stringify(value);
    return text.length <= FIELD_BYTES_MAX ? value : `${text.length} characters of JSON`;
  } catch {
    return 'a value that is no JSON'; // it refers to itself
  }
}

/** The type, message, code and stack of an error, and what caused it. */
function shortenError(error: Error): Record<string, unknown> {
  const frames = (error.stack ?? '').split('\n').filter((line) => /^ {4}at /.test(line));
  return {
    type: error.constructor.name,
    message: cut(messageOf(error), FIELD_BYTES_MAX),
    ...('code' in error ? { code: error.code } : {}),
    ...(error.cause instanceof Error
      ? { cause: `${error.cause.name}: ${cut(messageOf(error.cause), FIELD_BYTES_MAX)}` }
      : {}),
    stack: cut(frames.join('\n'), STACK_BYTES_MAX),
  };
}

/**
 * The message of an error for the log. Drizzle's message holds the statement with its parameters,
 * which are the users' data: the name of the statement has to do.
 */
export function messageOf({ message }: Error): string {
  const at = message.indexOf('Failed query: ');
  if (at === -1) return message;
  const [, statement = 'unnamed'] = /\/\* (\w+) \*\//.exec(message) ?? [];
  return `${message.slice(0, at)}Failed query: ${statement}`;
}

/** The beginning of a text, of at most this many bytes as JSON. */
function cut(text: string, bytesMax: number): string {
  let kept = text.slice(0, bytesMax);
  while (Buffer.byteLength(JSON.stringify(kept)) > bytesMax) kept = kept.slice(0, Math.floor(kept.length * 0.8));
  return kept.length === text.length ? text : `${kept}…`;
}
