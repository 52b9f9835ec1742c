import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { getIntrospectionQuery } from 'graphql';
import WebSocket from 'ws';

/**
 * Many clients without an account that do their worst. Each has its own address if the loopback of
 * the machine has several. Arguments: `URL CLIENTS SECONDS`. Prints the number of answers for each
 * status.
 */
const [url = '', clients = '200', seconds = '10'] = process.argv.slice(2);
const until = Date.now() + Number(seconds) * 1_000;
const { hostname, port } = new URL(url);
const statuses: Record<string, number> = {};

interface Attack {
  method?: 'GET' | 'POST';
  path?: string;
  headers?: Record<string, string>;
  body?: string;
}

const json = (query: string, more: object = {}): Attack => ({ body: JSON.stringify({ query, ...more }) });
const times = (count: number, text: (n: number) => string) =>
  Array.from({ length: count }, (_, n) => text(n)).join(' ');
const SIGN_IN = 'mutation ($input: SignInInput!) { signIn(input: $input) { token userErrors { code } } }';
const SIGN_UP = 'mutation ($input: SignUpInput!) { signUp(input: $input) { token userErrors { code } } }';
const deepTypes = (depth: number): string =>
  depth === 0 ? 'name' : `name fields { name type { ${deepTypes(depth - 1)} } }`;

/** Each document differs for each request, so that no cache of documents helps. */
const ATTACKS: ((n: number) => Attack)[] = [
  (n) => json(`# ${n}\n${getIntrospectionQuery()}`),
  (n) => json(`# ${n}\n{ __schema { types { ${deepTypes(2)} } } }`),
  (n) =>
    json(`{ ${times(30, (k) => `a${k}_${n}: __schema { types { name description fields { name description } } }`)} }`),
  (n) => json(`{ ${times(30, (k) => `a${n}_${k}: system { version database bus cache docker }`)} }`),
  (n) => json(`{ v${n}: viewer ${'{ apiTokens '.repeat(2_000)}`),
  (n) => json(`{ ${times(2_400, (k) => `worklow${n}_${k}`)} }`),
  (n) => json(`{ ${times(700, () => `a${n % 1_000}: system { version } `)} }`),
  (n) => json(`{ ${times(600, (k) => `a: job(id: "${n}${k}") { id }`)} }`),
  (n) =>
    json(
      `{ ...F0 } ${times(300, (k) => `fragment F${k} on Query { ...F${k + 1} ...F${k + 1} a${n}: __typename }`)} fragment F300 on Query { __typename }`,
    ),
  (n) => json(`{ ...A } fragment A on Query { ...B a${n}: __typename } fragment B on Query { ...A }`),
  () => json(`{ viewer { ${times(1_200, () => `... on User { id }`)} } }`),
  (n) => json(SIGN_IN, { variables: { input: { email: `nobody-${n}@example.com`, password: 'a wrong password' } } }),
  (n) => json(SIGN_UP, { variables: { input: { email: `somebody-${n}@example.com`, password: 'a new password' } } }),
  (n) => json(`{ viewer { id } }`, { variables: { unknown: 'x'.repeat(1_000_000) + n } }),
  (n) => json(`# ${'x'.repeat(1_000_000)}${n}\n{ viewer { id } }`),
  (n) => ({ body: `{"query":"{ viewer { id } }","variables":{"a":${'['.repeat(400_000)}${n}${']'.repeat(400_000)}}}` }),
  () => ({ body: `[${times(200, () => '{"query":"{ viewer { id } }"},')}{"query":"{ viewer { id } }"}]` }),
  (n) => ({
    method: 'GET',
    path: `/graphql?query=${encodeURIComponent(`{ ${times(300, (k) => `a${n}_${k}:system{version}`)} }`)}`,
  }),
  (n) => ({
    method: 'GET',
    path: `/graphql?extensions=${encodeURIComponent(JSON.stringify({ persistedQuery: { version: 1, sha256Hash: String(n).padStart(64, '0') } }))}`,
  }),
  (n) => ({
    method: 'GET',
    path: `/graphql?query=${encodeURIComponent(`subscription { jobLogs(jobId: "${n}") { text } }`)}`,
    headers: { accept: 'text/event-stream' },
  }),
  (n) => ({ ...json('{ viewer { id } }'), headers: { authorization: `Bearer cvs_${String(n).padStart(43, 'a')}` } }),
  () => ({ method: 'GET', path: '/health' }),
  (n) => ({ method: 'GET', path: `/logs/00000000-0000-7000-8000-${String(n % 1e12).padStart(12, '0')}` }),
  (n) => ({
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: `query=${'%7B'.repeat(300_000)}${n}`,
  }),
];

function attack(n: number, agent: Agent, localAddress: string): Promise<number> {
  const chosen = ATTACKS[n % ATTACKS.length];
  if (!chosen) throw new Error('There is no attack.');
  const { method = 'POST', path = '/graphql', headers, body } = chosen(n);
  return new Promise((resolve) => {
    const sent = request(
      {
        hostname,
        port,
        path,
        method,
        agent,
        localAddress,
        headers: { 'content-type': 'application/json', ...headers },
        timeout: 10_000,
      },
      (response) => {
        response.on('error', () => resolve(-1)).resume();
        response.on('end', () => resolve(response.statusCode ?? 0));
        response.on('close', () => resolve(-1));
      },
    );
    sent.on('error', () => resolve(-1)).on('timeout', () => sent.destroy());
    sent.end(body);
  });
}

async function overHttp(client: number, localAddress: string): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  for (let n = client; Date.now() < until; n += ATTACKS.length * 1_000 + 1) {
    const status = await attack(n, agent, localAddress);
    statuses[status] = (statuses[status] ?? 0) + 1;
    if (status === -1) await delay(20);
  }
  agent.destroy();
}

/** Opens a socket and sends large or many messages without waiting for answers. */
async function overSocket(localAddress: string): Promise<void> {
  while (Date.now() < until) {
    const socket = new WebSocket(url.replace('http', 'ws'), 'graphql-transport-ws', { localAddress });
    socket.on('error', () => undefined);
    const closed = once(socket, 'close').catch(() => undefined);
    socket.on('open', () => {
      socket.send('{"type":"connection_init"}');
      const spam = () => {
        if (socket.readyState !== socket.OPEN || Date.now() >= until) return socket.terminate();
        if (socket.bufferedAmount < 2_000_000) {
          const query = `# ${'x'.repeat(300_000)}\n{ viewer { id } }`;
          socket.send(JSON.stringify({ type: 'ping', payload: { a: 'x'.repeat(300_000) } }));
          for (let n = 0; n < 20; n += 1)
            socket.send(JSON.stringify({ type: 'subscribe', id: `${Math.random()}`, payload: { query } }));
        }
        setTimeout(spam, 5);
      };
      socket.on('message', (data) => {
        const type = String(data).slice(0, 40).includes('connection_ack') ? 'ack' : 'message';
        statuses[type] = (statuses[type] ?? 0) + 1;
        if (type === 'ack') spam();
      });
    });
    await Promise.race([closed, delay(Math.max(0, until - Date.now()))]);
    socket.terminate();
    statuses.socket = (statuses.socket ?? 0) + 1;
    await delay(50);
  }
}

await Promise.all(
  Array.from({ length: Number(clients) }, (_, client) => {
    const localAddress =
      process.platform === 'linux' && client % 2 === 1 ? `127.0.1.${1 + (client % 250)}` : '127.0.0.1';
    return client % 10 === 9 ? overSocket(localAddress) : overHttp(client, localAddress);
  }),
);
console.log(JSON.stringify(statuses));
process.exit(0);
