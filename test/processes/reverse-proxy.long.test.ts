import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import WebSocket from 'ws';
import { z } from 'zod';
import { type Authority, type Certificate, makeAuthority } from '../support/certificates.ts';
import { reportMissing } from '../support/parts.ts';
import { steadyPort } from '../support/ports.ts';
import { cleanUp, type Running, startProcess, tempFolder } from '../support/processes.ts';
import { hasCommand } from '../support/servers.ts';
import { until } from '../support/time.ts';

const NAME = 'chronoverse.example.com';
const docs = readFileSync('docs/operate/reverse-proxy.md', 'utf8');
if (process.getuid?.() !== 0) reportMissing('root', 'proxies in front of the api');

/** The first block below a heading of the page that operators copy from. */
function block(heading: string): string {
  const [, found] = new RegExp(`^## ${heading}\\n[\\s\\S]*?\`\`\`\\w*\\n([\\s\\S]*?)\`\`\``, 'm').exec(docs) ?? [];
  if (found === undefined) throw new Error(`There is no block below ${heading}.`);
  return found;
}

interface Site {
  dir: string;
  port: number;
  apiPort: number;
  certificate: Certificate;
}

/**
 * How each proxy starts with the block of the docs, on a port and with a certificate of this test.
 */
const PROXIES: Record<string, (site: Site) => Promise<{ command: string; args: string[] }>> = {
  async nginx({ dir, port, apiPort, certificate }) {
    const [server = '', http = ''] = block('nginx')
      .replace('listen 443 ssl;', `listen 127.0.0.1:${port} ssl;`)
      .replace(
        '# ssl_certificate, ssl_certificate_key',
        `ssl_certificate ${certificate.certFile}; ssl_certificate_key ${certificate.keyFile};`,
      )
      .replace('127.0.0.1:4000', `127.0.0.1:${apiPort}`)
      .split('# in the http block:');
    const folders = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
      (name) => `${name}_temp_path ${dir}/${name};`,
    );
    const file = join(dir, 'nginx.conf');
    await writeFile(
      file,
      `daemon off; pid ${dir}/pid; error_log stderr; events {}\nhttp { access_log off; ${folders.join(' ')}\n${http}\n${server} }`,
    );
    return { command: 'nginx', args: ['-c', file, '-p', dir, '-e', 'stderr'] };
  },
  async caddy({ dir, port, apiPort, certificate }) {
    const site = block('Caddy')
      .replace(`${NAME} {`, `${NAME}:${port} {\n\ttls ${certificate.certFile} ${certificate.keyFile}`)
      .replace('127.0.0.1:4000', `127.0.0.1:${apiPort}`);
    const file = join(dir, 'Caddyfile');
    await writeFile(file, `{\n\tadmin off\n\tauto_https disable_redirects\n}\n${site}`);
    return { command: 'caddy', args: ['run', '--config', file, '--adapter', 'caddyfile'] };
  },
};

describe.each(Object.keys(PROXIES))('behind %s as the docs configure it', (proxy) => {
  let authority: Authority;
  let port: number;
  let server: Running;
  let stop: () => Promise<void>;
  let token: string;
  let isThere = false;

  beforeAll(async () => {
    isThere = await hasCommand(proxy, `${proxy} in front of the api, as the docs configure it`);
    if (!isThere) return;
    authority = await makeAuthority();
    port = await steadyPort();
    const apiPort = await steadyPort();
    const dir = await tempFolder();
    await mkdir(join(dir, 'data'));
    server = startProcess(['up'], {
      DATA_DIR: join(dir, 'data'),
      PORT: String(apiPort),
      PUBLIC_URL: `https://${NAME}:${port}`,
      TRUST_PROXY: '127.0.0.1/32',
    });
    await server.ready();
    const certificate = authority.issue('proxy', [`DNS:${NAME}`]);
    const { command, args } = await (PROXIES[proxy] ?? PROXIES.nginx ?? fail)({ dir, port, apiPort, certificate });
    const child = spawn(command, args, {
      env: { ...process.env, HOME: dir, XDG_DATA_HOME: dir, XDG_CONFIG_HOME: dir },
      stdio: 'pipe',
    });
    let said = '';
    child.stderr.on('data', (piece) => {
      said += piece;
    });
    stop = async () => {
      child.kill('SIGTERM');
      if (child.exitCode === null) await once(child, 'exit');
    };
    await until(`${proxy} answers`, async () => {
      if (child.exitCode !== null) throw new Error(said);
      return (await ask('{ __typename }').catch(() => undefined)) !== undefined;
    });
    const signUp = 'mutation { signUp(input: {email: "ann@example.com", password: "correct horse"}) { token } }';
    const { body } = await ask(signUp);
    token = z.object({ data: z.object({ signUp: z.object({ token: z.string() }) }) }).parse(JSON.parse(body)).data
      .signUp.token;
  });
  afterAll(async () => {
    if (!isThere) return;
    await stop();
    await cleanUp();
    await authority.close();
  });

  function send(query: string, headers: Record<string, string>) {
    const asked = request({
      host: '127.0.0.1',
      port,
      servername: NAME,
      ca: authority.ca,
      method: 'POST',
      path: '/graphql',
      headers: {
        host: `${NAME}:${port}`,
        'content-type': 'application/json',
        origin: `https://${NAME}:${port}`,
        ...headers,
      },
      agent: false,
    });
    asked.end(JSON.stringify({ query }));
    return once(asked, 'response');
  }
  async function ask(query: string, headers: Record<string, string> = {}) {
    const [response] = await send(query, headers);
    return { status: response.statusCode, headers: response.headers, body: await text(response) };
  }

  test('a browser signs in with a cookie bound to https, and a page of another site is refused', async (context) => {
    if (!isThere) return context.skip();
    const signIn = 'mutation { signIn(input: {email: "ann@example.com", password: "correct horse"}) { user { id } } }';
    const { headers } = await ask(signIn);
    const [cookie = ''] = headers['set-cookie'] ?? [];
    expect(cookie).toMatch(/^__Host-chronoverse_session=.*Secure/);
    expect(headers['strict-transport-security']).toBeDefined();
    const viewer = await ask('{ viewer { email } }', { cookie: cookie.split(';')[0] ?? '' });
    expect(JSON.parse(viewer.body).data.viewer.email).toBe('ann@example.com');
    const forged = await ask('{ viewer { email } }', { origin: 'https://evil.example' });
    expect(forged.status).toBe(403);
  });

  test('server-sent events and a WebSocket are live', async (context) => {
    if (!isThere) return context.skip();
    const authorization = `Bearer ${token}`;
    const [stream] = await send('subscription { workflowUpdated { name } }', {
      authorization,
      accept: 'text/event-stream',
    });
    const socket = new WebSocket(`wss://${NAME}:${port}/graphql`, 'graphql-transport-ws', {
      ca: authority.ca,
      lookup: (_name, _options, found) => found(null, [{ address: '127.0.0.1', family: 4 }]),
      headers: { origin: `https://${NAME}:${port}` },
    });
    const messages: string[] = [];
    socket.on('message', (data) => messages.push(String(data)));
    await once(socket, 'open');
    socket.send(JSON.stringify({ type: 'connection_init', payload: { authorization } }));
    await until('the acknowledgement', async () => messages.some((message) => message.includes('connection_ack')));
    socket.send(
      JSON.stringify({ id: '1', type: 'subscribe', payload: { query: 'subscription { workflowUpdated { name } }' } }),
    );
    let events = '';
    stream.on('data', (piece: Buffer) => {
      events += piece;
    });
    const create = `mutation { createWorkflow(input: {name: "Live", interval: 60, maxConsecutiveJobFailuresAllowed: 1, payload: {heartbeat: {}}}) { workflow { id } } }`;
    await until('both say it', async () => {
      await ask(create, { authorization });
      return events.includes('"Live"') && messages.some((message) => message.includes('"Live"'));
    });
    socket.terminate();
    stream.destroy();
  });
});

function fail(): never {
  throw new Error('There is no such proxy.');
}
