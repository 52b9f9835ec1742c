import { access } from 'node:fs/promises';
import { Agent, type IncomingMessage } from 'node:http';
import { Agent as TlsAgent } from 'node:https';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type Modem from 'docker-modem';
import Dockerode from 'dockerode';
import { z } from 'zod';
import { tlsAdvice } from '../../domain/network/tls-advice.ts';
import type { TlsMaterial } from '../pem.ts';
import { EngineError, fromStatus } from './errors.ts';

export interface EngineRequest {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  path: string;
  query?: Record<string, string | number | boolean>;
  body?: object;
  /** A tar archive, instead of `body`. */
  archive?: Buffer;
  signal?: AbortSignal;
  /** The login at the registry that the engine asks for us (X-Registry-Auth). */
  registryAuth?: { username: string; password: string; serveraddress: string };
}

/**
 * Talks HTTP to one engine, through dockerode's transport (socket, TCP, TLS). Takes every answer as
 * a stream, because dockerode's own calls never settle if the connection breaks between the head
 * and the body. `wait` spends its time there.
 */
export interface Engine {
  readonly address: string;
  /**
   * The JSON answer, or undefined if there is none. Rejects with an EngineError, after `timeoutMs`
   * with UNREACHABLE.
   */
  call(request: EngineRequest & { timeoutMs?: number }): Promise<unknown>;
  /**
   * The answer's body as it arrives. Only the head has a time limit. Aborting `signal` destroys the
   * stream.
   */
  open(request: EngineRequest & { headTimeoutMs?: number }): Promise<IncomingMessage>;
  /** Whether an engine exists, even if it is down: one is named, or a usual socket is there. */
  isThere(): Promise<boolean>;
}

const CALL_TIMEOUT_MS = 60_000;
const ANSWER_BYTES_MAX = 32 * 1024 * 1024;
const USUAL_SOCKET = '/var/run/docker.sock';
const TCP_PORT = '2375'; // the Docker command uses it if tcp:// names no port
const TLS_PORT = '2376';
// 304: already started, or already stopped.
const STATUS_OK = { 200: true, 201: true, 204: true, 304: true };

/**
 * `host` has the form of DOCKER_HOST. Without it, the usual socket is looked for until an engine
 * answers. With `tls`, the connection to a TCP address uses TLS, and the engine's certificate is
 * verified.
 */
export function createEngine({ host, tls }: { host?: string | undefined; tls?: TlsMaterial | undefined }): Engine {
  const address = host ?? `unix://${USUAL_SOCKET}`;
  let modem: Modem | undefined;

  async function transport(): Promise<Modem> {
    modem ??= connect(host ?? `unix://${(await usualSocket()) ?? USUAL_SOCKET}`, tls);
    return modem;
  }

  async function open({ headTimeoutMs, ...request }: EngineRequest & { headTimeoutMs?: number }) {
    if (headTimeoutMs === undefined) return dial(request);
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), headTimeoutMs);
    try {
      const signal = request.signal === undefined ? late.signal : AbortSignal.any([late.signal, request.signal]);
      return await dial({ ...request, signal });
    } catch (error) {
      throw late.signal.aborted ? noAnswer(request, headTimeoutMs) : error;
    } finally {
      clearTimeout(timer);
    }
  }

  function noAnswer({ method, path }: EngineRequest, timeoutMs: number): EngineError {
    const words = `The Docker engine at ${address} gave no answer in ${timeoutMs / 1_000} s to ${method} ${path}.`;
    const shown = `The Docker engine gave no answer in ${timeoutMs / 1_000} s.`;
    return new EngineError('UNREACHABLE', shown, { isAway: true, words });
  }

  async function dial(request: EngineRequest): Promise<IncomingMessage> {
    const connected = await transport();
    return new Promise((resolve, reject) => {
      connected.dial(
        {
          path: `${request.path}?`,
          method: request.method,
          options: { _query: request.query ?? {}, _body: request.body ?? {} },
          ...(request.archive === undefined ? {} : { file: request.archive }),
          isStream: true,
          authconfig: request.registryAuth,
          statusCodes: STATUS_OK,
          abortSignal: request.signal,
        },
        (error, answer) => {
          if (error !== null) {
            modem = undefined; // an engine may start at another usual socket
            reject(toEngineError(error, address));
          } else if (isStream(answer)) resolve(answer);
          else
            reject(
              new EngineError('UNREACHABLE', 'The Docker engine gave an answer without a body.', { isAway: true }),
            );
        },
      );
    });
  }

  async function call({ timeoutMs = CALL_TIMEOUT_MS, ...request }: EngineRequest & { timeoutMs?: number }) {
    const timeout = AbortSignal.timeout(timeoutMs);
    const signal = request.signal === undefined ? timeout : AbortSignal.any([timeout, request.signal]);
    try {
      return await readJson(await open({ ...request, signal }));
    } catch (error) {
      if (request.signal?.aborted) throw request.signal.reason;
      if (timeout.aborted) throw noAnswer(request, timeoutMs);
      throw error instanceof EngineError ? error : broken(address, error);
    }
  }

  const isThere = async () => host !== undefined || (await usualSocket()) !== undefined;

  return { address, call, open, isThere };
}

/** For streams that others read: the error when the connection breaks in the middle. */
export function broken(address: string, cause: unknown): EngineError {
  const why = cause instanceof Error ? cause.message : String(cause);
  const words = `The connection to the Docker engine at ${address} broke: ${why}.`;
  return new EngineError('UNREACHABLE', 'The connection to the Docker engine broke.', { cause, isAway: true, words });
}

function connect(address: string, tls?: TlsMaterial): Modem {
  // Connections are not kept alive. A POST over one that a restarted engine has closed would fail,
  // and a POST must not be sent twice.
  if (address.startsWith('unix://')) {
    const socketPath = address.slice('unix://'.length);
    return modemOf({ host: undefined, socketPath, agent: new Agent({ keepAlive: false }) });
  }
  const url = new URL(address);
  const secure = url.protocol === 'https:' || url.port === TLS_PORT || tls !== undefined;
  return modemOf({
    host: url.hostname,
    port: url.port || (url.protocol === 'tcp:' ? (secure ? TLS_PORT : TCP_PORT) : ''),
    protocol: secure ? 'https' : 'http',
    agent: secure ? new TlsAgent({ keepAlive: false, ...tls }) : new Agent({ keepAlive: false }),
  });
}

function modemOf(options: Dockerode.DockerOptions & { agent: Agent }): Modem {
  return new Dockerode(options).modem;
}

/** Docker Desktop has its socket in the home folder. Undefined if no socket is there. */
async function usualSocket(): Promise<string | undefined> {
  for (const socket of [join(homedir(), '.docker', 'run', 'docker.sock'), USUAL_SOCKET]) {
    const isThere = await access(socket).then(
      () => true,
      () => false,
    );
    if (isThere) return socket;
  }
  return undefined;
}

async function readJson(answer: IncomingMessage): Promise<unknown> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of answer) {
    parts.push(part);
    bytes += part.length;
    if (bytes > ANSWER_BYTES_MAX)
      throw new EngineError('INVALID', `The Docker engine gave an answer of more than ${ANSWER_BYTES_MAX} bytes.`);
  }
  const text = Buffer.concat(parts).toString();
  if (text === '') return undefined;
  return answer.headers['content-type']?.startsWith('application/json') ? JSON.parse(text) : text;
}

function isStream(answer: object | null): answer is IncomingMessage {
  return answer !== null && 'statusCode' in answer && Symbol.asyncIterator in answer;
}

const httpError = z.object({ statusCode: z.number(), message: z.string() });

function toEngineError(error: Error, address: string): EngineError {
  const answered = httpError.safeParse(error).data;
  if (answered !== undefined) {
    const words = /^\(HTTP code \d+\) [^-]*- ([\s\S]*)$/.exec(answered.message)?.[1] ?? answered.message;
    return fromStatus(answered.statusCode, words.trim());
  }
  const advice = tlsAdvice(error, 'DOCKER');
  const said = `No Docker engine answers at ${address}: ${error.message}.`;
  const words = advice === undefined ? said : `${said} ${advice}`;
  const cause = new Error(words, { cause: error }); // the operator's log shows a cause
  return new EngineError('UNREACHABLE', 'No Docker engine answers.', { cause, isAway: true, words });
}
