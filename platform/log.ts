import { type DestinationStream, destination, type Logger, pino, stdTimeFunctions } from 'pino';
import pretty from 'pino-pretty';
import { shorten, shortenMessage } from './log-line.ts';
import type { OutageLog } from './outage-log.ts';
import type { Settings } from './settings/parse.ts';

/** Names under which a secret might reach the log, at the top and one level down. */
const SECRETS = [
  'password',
  'token',
  'secret',
  'secretKey',
  'oldSecretKeys',
  'authorization',
  'cookie',
  'databaseUrl',
  'redisUrl',
];

/**
 * The log of a process, on standard output. It is written at once, so that the last line before an
 * exit is there. `onStderr` is for a command that answers on standard output: its log omits what
 * works as usual.
 */
export function createLogger(
  { logLevel, logFormat }: Pick<Settings, 'logLevel' | 'logFormat'>,
  { onStderr = false, outages }: { onStderr?: boolean; outages?: OutageLog } = {},
): Logger {
  const stream = onStderr ? process.stderr : process.stdout;
  const format = logFormat ?? (stream.isTTY ? 'pretty' : 'json');
  const level = onStderr && logLevel === 'info' ? 'warn' : logLevel;
  const isForPeople = format === 'pretty';
  const written = isForPeople ? prettyTo(stream) : destination({ dest: stream.fd, sync: true });
  // A full disk under the log, or a terminal that is gone, loses lines. It must not end the
  // process.
  written.on('error', () => undefined);
  return createLoggerTo(written, level, { isForPeople, outages });
}

/** With `isForPeople`, the log shows only the sentence of an audit event. */
export function createLoggerTo(
  stream: DestinationStream,
  level: string,
  { isForPeople = false, outages }: { isForPeople?: boolean; outages?: OutageLog | undefined } = {},
): Logger {
  const log = (fields: Record<string, unknown>) =>
    shorten(isForPeople && fields.event === 'audit' ? { event: 'audit' } : fields);
  return pino(
    {
      level,
      base: { pid: process.pid },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }), log },
      serializers: { err: (error) => error }, // shorten has done it
      hooks: {
        logMethod(args, method, level) {
          const short = shortenMessage(args);
          if (outages === undefined) method.apply(this, short);
          else outages.logMethod.call(this, short, method, level);
        },
      },
      redact: { paths: SECRETS.flatMap((name) => [name, `*.${name}`]), censor: '[redacted]' },
    },
    stream,
  );
}

/**
 * Logs the line that supervisors wait for, at every LOG_LEVEL. It is logged exactly once, when the
 * process does its work.
 */
export function logReady(log: Logger, fields: { url?: string; workers?: string[] }, message: string): void {
  log.child({}, { level: 'info' }).info({ event: 'ready', ...fields }, message);
}

function prettyTo(stream: NodeJS.WriteStream & { fd: number }): pretty.PrettyStream {
  return pretty({
    destination: stream.fd,
    sync: true,
    colorize: stream.isTTY && !process.env.NO_COLOR,
    translateTime: 'SYS:HH:MM:ss.l',
    ignore: 'pid,event,part,ms,url', // the message contains them
  });
}
