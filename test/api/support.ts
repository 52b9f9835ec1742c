import { createClient, type Client as SocketClient } from 'graphql-ws';
import pino from 'pino';
import { afterAll, beforeAll } from 'vitest';
import WebSocket from 'ws';
import { type Api, startApi } from '../../api/server.ts';
import type { ApiSettings } from '../../api/settings.ts';
import type { Db } from '../../db/client.ts';
import type { Bus } from '../../platform/bus/bus.ts';
import { createMemoryBus } from '../../platform/bus/memory.ts';
import type { Cache } from '../../platform/cache/cache.ts';
import { createMemoryCache } from '../../platform/cache/memory.ts';
import { testDatabase } from '../support/database.ts';
import { testSealer } from '../support/workers.ts';

/**
 * A real api on a free port, with a database for the test file, and with the bus and the cache in
 * process.
 */
export interface TestApi {
  url: string;
  db: Db;
  bus: Bus;
  cache: Cache;
  api: Api;
  databaseUrl: string;
  /** The messages that were logged at `warn` and above. */
  logged: string[];
  close(): Promise<void>;
}

export async function testApi(
  settings: Partial<ApiSettings> = {},
  parts: Pick<Parameters<typeof startApi>[0], 'docker'> = {},
): Promise<TestApi> {
  const database = await testDatabase();
  const logged: string[] = [];
  const log = pino({ level: 'warn' }, { write: (line: string) => void logged.push(line) });
  const bus = createMemoryBus({ log });
  const cache = createMemoryCache();
  const limits = {
    signInsPerAccountPerMinute: 1_000,
    signInsPerAccountFromStrangersPerMinute: 1_000,
    signInsPerAddressPerMinute: 1_000,
    signUpsPerAddressPerHour: 1_000,
  };
  const api = await startApi({
    ...parts,
    db: database.db,
    bus,
    cache,
    log,
    sealer: testSealer,
    settings: {
      port: 0,
      host: '127.0.0.1',
      databaseEmbedded: true,
      maxJobSeconds: 86_400,
      signUp: 'open', // a test has several people
      limits,
      ...settings,
    },
  });
  return {
    url: api.url,
    db: database.db,
    bus,
    cache,
    api,
    databaseUrl: database.url,
    logged,
    close: async () => {
      await api.close();
      await bus.close();
      await cache.close();
      await database.close();
    },
  };
}

/** The answer to any query. Tests assert on what they read of it. */
// biome-ignore lint/suspicious/noExplicitAny: each query has a shape of its own
export type Answer = { data: any; errors?: { message: string; path?: unknown[]; extensions: Record<string, any> }[] };

export async function query(
  { url }: { url: string },
  document: string,
  { token, variables, headers }: { token?: string; variables?: object; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json',
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...headers,
    },
    body: JSON.stringify({ query: document, variables }),
  });
  return response.json() as Promise<Answer>;
}

/** The codes of the errors of an answer. */
export function codes({ errors }: Answer): unknown[] {
  return (errors ?? []).map(({ extensions }) => extensions.code);
}

let people = 0;

export interface Person {
  id: string;
  email: string;
  token: string;
}

/** Signs up a new user. */
export async function person(api: { url: string }, name = 'ann'): Promise<Person> {
  people += 1;
  const email = `${name}-${people}-${process.pid}@example.com`;
  const { data } = await query(
    api,
    'mutation ($input: SignUpInput!) { signUp(input: $input) { user { id } token userErrors { message } } }',
    { variables: { input: { email, password: `password of ${name}` } } },
  );
  return { id: data.signUp.user.id, email, token: data.signUp.token };
}

/**
 * Makes an api and two people for all tests of a `describe`, and gives them to `use` before the
 * first one. Ann owns what the tests make, and Bob may see none of it.
 */
export function withAnnAndBob(use: (made: { api: TestApi; ann: Person; bob: Person }) => void): void {
  let api: TestApi | undefined;
  beforeAll(async () => {
    api = await testApi();
    use({ api, ann: await person(api, 'ann'), bob: await person(api, 'bob') });
  });
  afterAll(() => api?.close());
}

/**
 * Sends `createWorkflow` with defaults for everything that `input` leaves out. Returns the
 * mutation's answer.
 */
export async function createWorkflow(
  api: { url: string },
  { token }: { token: string },
  input: object = {},
  fields = 'id',
): Promise<{ workflow: Answer['data']; userErrors: { code: string; path: string[]; message: string }[] }> {
  const document = `mutation ($input: CreateWorkflowInput!) { createWorkflow(input: $input) {
    workflow { ${fields} } userErrors { code path message } } }`;
  const common = { name: 'a', payload: { heartbeat: {} }, interval: 1, maxConsecutiveJobFailuresAllowed: 1 };
  const { data } = await query(api, document, { token, variables: { input: { ...common, ...input } } });
  return data.createWorkflow;
}

/** The id of the build of a new CONTAINER workflow. */
export async function createBuild(api: { url: string }, who: { token: string }): Promise<string> {
  const { workflow } = await createWorkflow(
    api,
    who,
    { payload: { container: { image: 'alpine:3' } } },
    'build { id }',
  );
  return workflow.build.id;
}

/** A WebSocket client that never reconnects. */
export function socketOf({ url }: { url: string }, token?: string): SocketClient {
  return createClient({
    url: url.replace('http', 'ws'),
    webSocketImpl: WebSocket,
    retryAttempts: 0,
    lazy: true,
    ...(token === undefined ? {} : { connectionParams: { authorization: `Bearer ${token}` } }),
  });
}

/** Takes the values of a subscription one by one, each within a deadline. */
export function taker<T>(values: AsyncIterable<T>) {
  const iterator = values[Symbol.asyncIterator]();
  const next = async (): Promise<IteratorResult<T>> => {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error('Nothing came within 30 s.')), 30_000);
    });
    return Promise.race([iterator.next(), late]).finally(() => clearTimeout(timer));
  };
  return {
    async take(): Promise<T> {
      const result = await next();
      if (result.done) throw new Error('It completed, and a value was expected.');
      return result.value;
    },
    /** All values up to the end. */
    async rest(): Promise<T[]> {
      const all: T[] = [];
      for (;;) {
        const result = await next();
        if (result.done) return all;
        all.push(result.value);
      }
    },
    stop: async () => {
      await iterator.return?.();
    },
  };
}
