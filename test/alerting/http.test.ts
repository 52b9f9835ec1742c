import { createServer } from 'node:https';
import net from 'node:net';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type HttpContext, postTo } from '../../workers/alerting/http.ts';
import { trustOf } from '../../workers/execution/checks/trust.ts';
import { policy } from '../heartbeat/policy.ts';
import { answering, listening, nameServer, raw, response } from '../heartbeat/support.ts';
import { type Authority, makeAuthority } from '../support/certificates.ts';
import { status, stub } from './messages.ts';

const SECRET = 'T0SECRET/B0SECRET/abcdefghijkl';

function post(url: string, changes: Partial<HttpContext> = {}, body = 'hello') {
  const context = { allow: policy('loopback'), signal: new AbortController().signal, timeoutSeconds: 10, ...changes };
  return postTo(url, { headers: { 'content-type': 'text/plain' }, body }, context);
}

/** The text of the failure. */
async function failure(url: string, changes: Partial<HttpContext> = {}): Promise<string> {
  const answer = await post(url, changes).catch((error: unknown) => error);
  if (!(answer instanceof Error)) throw new Error(`It was answered: ${JSON.stringify(answer)}`);
  expect(answer.message).not.toContain('SECRET');
  expect(answer.message.length).toBeLessThanOrEqual(500);
  return answer.message;
}

describe('a request of an alert', () => {
  test('carries its body whole, and brings the answer as one line', async () => {
    const server = await stub(status(500, 'fine\r\n  thanks\0'));
    const body = `ä😀${'x'.repeat(20_000)}`;
    expect(await post(`${server.url}/hook?a=b`, {}, body)).toEqual({
      ...{ status: 500, text: 'fine thanks', retryAfterSeconds: undefined },
    });
    expect(server.received).toMatchObject([
      { method: 'POST', url: '/hook?a=b', body, headers: { 'user-agent': 'chronoverse-alerts', host: server.host } },
    ]);
  });

  test('follows no redirect, not even to a metadata address', async () => {
    const server = await stub(status(302, '', { location: 'http://169.254.169.254/latest/meta-data/' }));
    expect(await post(server.url)).toMatchObject({ status: 302 });
    expect(server.received).toHaveLength(1);
  });

  test('opens no socket to an address that ALERT_ALLOW does not name, and says so', async () => {
    const { host } = await raw(() => expect.unreachable('a connection came'));
    expect(await failure(`https://${host}/${SECRET}`, { allow: policy('public,private') })).toBe(
      "127.0.0.1 is in no network that alerts may reach here; the operator's setting ALERT_ALLOW names those.",
    );
    expect(await failure(`https://169.254.169.254/${SECRET}`, { allow: policy('public,private,loopback') })).toContain(
      'ALERT_ALLOW',
    );
  });

  test('judges the addresses of a name each time, and connects to those very ones', async () => {
    const server = await stub();
    let address = '127.0.0.1';
    const { names } = await nameServer(() => [address]);
    const url = `http://hook.test:${server.port}/${SECRET}`;
    expect(await post(url, { names })).toMatchObject({ status: 200 });
    for (address of ['169.254.169.254', '10.0.0.1', '93.184.216.34'])
      expect(await failure(url, { names })).toMatch(`hook.test (${address}) is in no network that alerts may reach`);
    expect(server.received).toHaveLength(1);
  });

  test('asks for a name once, so that it cannot change between the judgement and the connection', async () => {
    const server = await stub();
    let asked = 0;
    const { names } = await nameServer((_, type) => {
      if (type === 28) return [];
      asked += 1;
      return [asked === 1 ? '127.0.0.1' : '127.0.0.9'];
    });
    expect(await post(`http://hook.test:${server.port}/`, { names })).toMatchObject({ status: 200 });
    expect(asked).toBe(1);
  });

  test('goes to no public address without TLS, whatever name leads there', async () => {
    const { names } = await nameServer(() => ['93.184.216.34']);
    expect(await failure(`http://printer.lan/${SECRET}`, { names, allow: policy('public,private') })).toContain(
      'a public host needs https',
    );
  });

  test('fails when the name is unknown or nobody listens', async () => {
    const { names } = await nameServer(() => undefined);
    expect(await failure(`http://gone.test/${SECRET}`, { names })).toBe(
      'gone.test could not be resolved (ENOTFOUND). An address was expected.',
    );
    const { host, server } = await raw(() => undefined);
    await new Promise((resolve) => server.close(resolve));
    expect(await failure(`http://${host}/${SECRET}`)).toContain('ECONNREFUSED');
  });

  test('ends at its time-out, whatever the other side does', async () => {
    const timeoutSeconds = 1;
    const silent = await raw((socket) => socket.resume());
    expect(await failure(`http://${silent.host}/${SECRET}`, { timeoutSeconds })).toMatch(/^Timed out after 1 s/);
    expect(await failure(`https://${silent.host}/${SECRET}`, { timeoutSeconds })).toMatch(/Timed out after 1 s .*TLS/);
    const drips = (status: string) =>
      raw((socket) => {
        socket.write(`HTTP/1.1 ${status}\r\nContent-Length: 100000\r\n\r\n`);
        const timer = setInterval(() => socket.write('x'), 20);
        socket.on('close', () => clearInterval(timer));
      });
    const drip = await drips('500 No');
    expect(await failure(`http://${drip.host}/${SECRET}`, { timeoutSeconds })).toMatch(/waiting for the rest/);
    // A success is one whatever follows.
    const success = await drips('200 OK');
    expect((await post(`http://${success.host}/${SECRET}`, { timeoutSeconds })).status).toBe(200);
    const dripsHead = await raw((socket) => {
      socket.write('HTTP/1.1 200 OK\r\n');
      const timer = setInterval(() => socket.write('X: y\r\n'), 20);
      socket.on('close', () => clearInterval(timer));
    });
    expect(await failure(`http://${dripsHead.host}/${SECRET}`, { timeoutSeconds })).toMatch(/rest of the headers/);
  });

  test('ends at once when its caller aborts, before it begins too', async () => {
    const abort = new AbortController();
    const { host } = await raw((socket) => {
      socket.resume();
      abort.abort();
    });
    expect(await failure(`http://${host}/`, { signal: abort.signal })).toBe('The attempt was stopped before it ended.');
    expect(await failure(`http://${host}/`, { signal: abort.signal })).toBe('The attempt was stopped before it ended.');
  });

  test('reads at most 64 KiB of an answer, which is no failure', async () => {
    let written = 0;
    const { host } = await raw((socket) => {
      socket.once('data', () => {
        socket.write('HTTP/1.1 500 No\r\n\r\n');
        const more = () => {
          while (!socket.destroyed && socket.write(Buffer.alloc(16_384, 'y'))) written += 16_384;
        };
        socket.on('drain', more);
        more();
      });
    });
    const answer = await post(`http://${host}/`);
    expect(answer.status).toBe(500);
    expect(answer.text).toHaveLength(500);
    expect(written).toBeLessThan(64 * 1024 * 1024); // it did not go on for ever
  });

  test('fails on endless headers and on what is not HTTP', async () => {
    const long = await answering(
      `HTTP/1.1 200 OK\r\n${'X-Long: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n'.repeat(3_000)}\r\n`,
    );
    expect(await failure(`http://${long.host}/${SECRET}`)).toContain('more than 65536 bytes came');
    const other = await answering(`SSH-2.0-OpenSSH ${SECRET}\r\n`);
    expect(await failure(`http://${other.host}/${SECRET}`)).toContain('not HTTP');
    const cut = await answering('HTTP/1.1 500 No\r\nContent-Length: 50\r\n\r\nshort');
    expect(await post(`http://${cut.host}/`)).toMatchObject({ status: 500, text: 'short' });
    const packed = await answering(response(['Content-Encoding: gzip'], Buffer.from([0x1f, 0x8b, 1, 2])));
    expect(await post(`http://${packed.host}/`)).toMatchObject({ status: 200, text: '' });
  });

  test('hides its URL and its secrets in what the other side says', async () => {
    const token = 'tk_SECRETtoken';
    const base64 = Buffer.from(token).toString('base64');
    const server = await stub(
      status(400, `POST /${SECRET}?k=v no ${SECRET} ${token} ${base64} ${encodeURIComponent(SECRET)}`),
    );
    const { text } = await post(`${server.url}/${SECRET}?k=v`, { secrets: [token] });
    expect(text).toMatch(/^POST \*+/);
    expect(text).not.toMatch(/SECRET|abcdefghijkl/);
    expect(text).not.toContain(base64.slice(4, 16));
  });

  test('understands when the other side wants the next one', async () => {
    const retryAfter = async (value: string) => {
      const server = await stub(status(429, '', { 'retry-after': value }));
      return (await post(server.url)).retryAfterSeconds;
    };
    expect(await retryAfter('120')).toBe(120);
    expect(await retryAfter('0.35')).toBe(1);
    const date = await retryAfter(new Date(Date.now() + 90_000).toUTCString());
    expect(date).toBeGreaterThan(60);
    expect(date).toBeLessThanOrEqual(91);
    expect(await retryAfter('Wed, 21 Oct 2015 07:28:00 GMT')).toBe(0);
    for (const odd of ['soon', '-5', '1e9', '']) expect(await retryAfter(odd)).toBeUndefined();
  });
});

describe('a request of an alert over https', () => {
  let authority: Authority;
  beforeAll(async () => {
    authority = await makeAuthority();
  });
  afterAll(() => authority.close());

  test('is sent where the certificate is right, and nothing is sent where it is not', async () => {
    const { cert, key } = authority.issue('hook', ['DNS:hook.test']);
    let requests = 0;
    const server = createServer({ cert, key }, (_, response) => {
      requests += 1;
      response.end('ok');
    });
    const { port } = await listening(server);
    onTestFinished(() => server.closeAllConnections());
    const { names } = await nameServer(() => ['127.0.0.1']);
    const trust = trustOf({ ca: authority.ca });
    expect(await post(`https://hook.test:${port}/${SECRET}`, { names, trust })).toMatchObject({
      status: 200,
      text: '',
    });
    expect(await failure(`https://other.test:${port}/${SECRET}`, { names, trust })).toContain('No TLS');
    expect(await failure(`https://hook.test:${port}/${SECRET}`, { names })).toContain('No TLS');
    expect(requests).toBe(1);
  });

  test('fails when the other side resets the connection', async () => {
    const { host } = await listening(net.createServer((socket) => socket.once('data', () => socket.resetAndDestroy())));
    expect(await failure(`http://${host}/${SECRET}`)).toContain('the connection was reset');
    expect(await failure(`https://${host}/${SECRET}`)).toContain('No TLS');
  });
});
