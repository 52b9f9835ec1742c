import { Webhook } from 'standardwebhooks';
import { describe, expect, test } from 'vitest';
import { newSigningSecret } from '../../domain/alerts/config.ts';
import { policy } from '../heartbeat/policy.ts';
import { alert, digestOf, HOSTILE, sendOnce, status, stub } from './messages.ts';

const verify = (secret: string, { headers, body }: { headers: object; body: string }) =>
  new Webhook(secret).verify(body, { ...headers });

describe('a webhook', () => {
  test('is signed as Standard Webhooks verifies, whatever a user has written', async () => {
    const server = await stub();
    const secret = newSigningSecret();
    const sent = alert({ reason: HOSTILE, workflow: { id: 'w', name: '世界 😀' } });
    const target = { kind: 'WEBHOOK', url: `${server.url}/hook`, secrets: [secret] } as const;
    expect(await sendOnce(target, { kind: 'ALERT', alert: sent })).toEqual({ outcome: 'DELIVERED', status: 200 });
    const [received] = server.received;
    if (received === undefined) throw new Error('Nothing came.');
    expect(verify(secret, received)).toMatchObject({ type: 'workflow.failing', data: { deliveryId: sent.deliveryId } });
    expect(received.headers).toMatchObject({
      ...{ 'webhook-id': sent.deliveryId, 'content-type': 'application/json', 'user-agent': 'chronoverse-alerts' },
    });
    expect(Number(received.headers['webhook-timestamp'])).toBeGreaterThan(Date.now() / 1_000 - 30);
    expect(() => verify(newSigningSecret(), received)).toThrow();
    expect(() => verify(secret, { ...received, body: `${received.body} ` })).toThrow();
  });

  test('is signed with the old secret too while that is valid', async () => {
    const server = await stub();
    const [present, old] = [newSigningSecret(), newSigningSecret()];
    await sendOnce({ kind: 'WEBHOOK', url: server.url, secrets: [present, old] });
    const [received] = server.received;
    if (received === undefined) throw new Error('Nothing came.');
    expect(String(received.headers['webhook-signature']).split(' ')).toHaveLength(2);
    for (const secret of [present, old]) expect(() => verify(secret, received)).not.toThrow();
  });

  test('keeps its id on every attempt, with the time of the attempt', async () => {
    const server = await stub(status(500));
    const message = { kind: 'ALERT', alert: alert() } as const;
    const target = { kind: 'WEBHOOK', url: server.url, secrets: [newSigningSecret()] } as const;
    for (let attempt = 0; attempt < 2; attempt += 1) await sendOnce(target, message);
    const ids = server.received.map(({ headers }) => headers['webhook-id']);
    expect(ids).toEqual([message.alert.deliveryId, message.alert.deliveryId]);
  });

  test('never gets a digest', async () => {
    const server = await stub();
    const target = { kind: 'WEBHOOK', url: server.url, secrets: [newSigningSecret()] } as const;
    expect(await sendOnce(target, digestOf(7))).toMatchObject({ outcome: 'FAILED', verdict: 'LATER' });
    expect(server.received).toEqual([]);
  });

  test.each([
    [200, undefined],
    [202, undefined],
    [204, undefined],
    [301, 'LATER'],
    [307, 'LATER'],
    [400, 'LATER'],
    [401, 'LATER'],
    [403, 'LATER'],
    [404, 'LATER'],
    [408, 'LATER'],
    [410, 'DEAD'],
    [429, 'BUSY'],
    [500, 'LATER'],
    [503, 'LATER'],
  ])('that answers %i is %s', async (code, verdict) => {
    const server = await stub(status(code, code === 204 ? '' : 'why', { 'retry-after': '7' }));
    const outcome = await sendOnce({ kind: 'WEBHOOK', url: `${server.url}/SECRET`, secrets: [newSigningSecret()] });
    if (verdict === undefined) expect(outcome).toEqual({ outcome: 'DELIVERED', status: code });
    else expect(outcome).toMatchObject({ outcome: 'FAILED', status: code, verdict });
    expect(JSON.stringify(outcome)).not.toContain('SECRET');
    if (code === 429 || code === 503) expect(outcome).toMatchObject({ retryAfterSeconds: 7 });
  });

  test('fails with a sentence when it cannot be reached, and never throws', async () => {
    const secrets = [newSigningSecret()];
    const to = (url: string) => sendOnce({ kind: 'WEBHOOK', url, secrets }, undefined, { allow: policy('public') });
    for (const url of ['https://127.0.0.1:1/a', 'http://127.0.0.1:1/a'])
      expect(await to(url)).toMatchObject({ verdict: 'LATER', error: expect.stringContaining('ALERT_ALLOW') });
    expect(await to('no url')).toMatchObject({ verdict: 'LATER', error: expect.stringContaining('give it again') });
  });

  test('hides its signing secrets if the other side repeats the request', async () => {
    const secret = newSigningSecret();
    const server = await stub(status(400, `bad secret ${secret} ${secret.slice(6)}`));
    const outcome = await sendOnce({ kind: 'WEBHOOK', url: server.url, secrets: [secret] });
    expect(JSON.stringify(outcome)).toContain('bad secret');
    expect(JSON.stringify(outcome)).not.toContain(secret.slice(8, 30));
  });
});
