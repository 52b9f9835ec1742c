import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stopwatch } from '../support/stopwatch.ts';
import { codes, type Person, person, query, socketOf, type TestApi, taker, testApi } from './support.ts';

const SIGN_IN = 'mutation ($input: SignInInput!) { signIn(input: $input) { token userErrors { code } } }';
const SESSIONS = '{ viewer { sessions { id current address userAgent lastUsedAt expiresAt createdAt } } }';
const REVOKE = 'mutation ($id: ID!) { revokeSession(input: { id: $id }) { session { id } userErrors { code path } } }';
const EVERYWHERE = 'mutation { signOutEverywhere { sessionsEnded userErrors { code } } }';
const CHANGE =
  'mutation ($input: ChangePasswordInput!) { changePassword(input: $input) { user { id } userErrors { code path message } } }';
const VIEWER = '{ viewer { id } }';
const NEW = 'a whole new password';

let api: TestApi;
let ann: Person;
beforeAll(async () => {
  api = await testApi();
});
afterAll(() => api.close());

async function signIn(email: string, password: string, headers: Record<string, string> = {}) {
  const { data } = await query(api, SIGN_IN, { variables: { input: { email, password } }, headers });
  return data.signIn;
}

async function apiToken(token: string): Promise<string> {
  const create = 'mutation { createApiToken(input: { name: "ci" }) { secret } }';
  return (await query(api, create, { token })).data.createApiToken.secret;
}

async function sessionsOf(token: string) {
  return (await query(api, SESSIONS, { token })).data.viewer.sessions;
}

/** A request whose body is sent when the returned function is called. */
function slowRequest(token: string, query: string): () => Promise<{ errors?: { extensions: { code: string } }[] }> {
  const body = JSON.stringify({ query });
  const headers = {
    'content-type': 'application/json',
    'content-length': body.length,
    authorization: `Bearer ${token}`,
  };
  const sent = request(api.url, { method: 'POST', headers });
  sent.write(body.slice(0, 10));
  return () =>
    new Promise((resolve, reject) => {
      sent.once('error', reject);
      sent.once('response', async (response) => {
        let text = '';
        for await (const part of response) text += part;
        resolve(JSON.parse(text));
      });
      sent.end(body.slice(10));
    });
}

async function isValid(token: string): Promise<boolean> {
  return codes(await query(api, VIEWER, { token })).length === 0;
}

describe('sessions', () => {
  test('are listed newest first, with the address and the program that began them', async () => {
    ann = await person(api);
    await signIn(ann.email, 'password of ann', { 'user-agent': `Browser/1.0 \t${'x'.repeat(300)}` });
    const sessions = await sessionsOf(ann.token);
    expect(sessions).toMatchObject([
      { current: false, address: '127.0.0.1' },
      { current: true, address: '127.0.0.1' },
    ]);
    expect(sessions[0].userAgent).toMatch(/^Browser\/1\.0 \??x+$/);
    expect(sessions[0].userAgent).toHaveLength(200);
    const { data } = await query(api, 'query ($id: ID!) { node(id: $id) { __typename id } }', {
      token: ann.token,
      variables: { id: sessions[1].id },
    });
    expect(data.node).toEqual({ __typename: 'Session', id: sessions[1].id });
  });

  test('are ended one by one, each only by its owner', async () => {
    ann = await person(api);
    const { token } = await signIn(ann.email, 'password of ann');
    const [{ id }] = await sessionsOf(ann.token);
    const bob = await person(api, 'bob');
    const foreign = await query(api, REVOKE, { token: bob.token, variables: { id } });
    expect(foreign.data.revokeSession).toEqual({ session: null, userErrors: [{ code: 'NOT_FOUND', path: ['id'] }] });
    expect((await query(api, REVOKE, { token: bob.token, variables: { id: 'none' } })).data).toEqual(foreign.data);
    expect((await query(api, `{ node(id: "${id}") { id } }`, { token: bob.token })).data.node).toBeNull();
    const revoked = await query(api, REVOKE, { token: ann.token, variables: { id } });
    expect(revoked.data.revokeSession).toEqual({ session: { id }, userErrors: [] });
    expect([await isValid(token), await isValid(ann.token)]).toEqual([false, true]);
    const again = await query(api, REVOKE, { token: ann.token, variables: { id } });
    expect(again.data).toEqual(foreign.data);
  });

  test('can do nothing after their end, even if the request began before and its body comes later', async () => {
    ann = await person(api);
    const { token } = await signIn(ann.email, 'password of ann');
    const requests = [
      'mutation { createApiToken(input: { name: "evil" }) { secret } }',
      'mutation { updateNotificationPreference(input: { preference: NONE }) { user { id } } }',
    ].map((document) => slowRequest(token, document));
    const [{ id }] = await sessionsOf(ann.token);
    // This proves that the server has the headers of the earlier requests.
    await query(api, 'query { viewer { id } }', { token });
    await query(api, REVOKE, { token: ann.token, variables: { id } });
    for (const finish of requests) {
      const { errors } = await finish();
      expect(errors?.map(({ extensions }) => extensions.code)).toEqual(['UNAUTHENTICATED']);
    }
    const { data } = await query(api, '{ viewer { apiTokens { id } notificationPreference } }', { token: ann.token });
    expect(data.viewer).toEqual({ apiTokens: [], notificationPreference: 'ALERTS' });
    const both = 'mutation { signOut { userErrors { code } } createApiToken(input: { name: "late" }) { secret } }';
    expect(codes(await query(api, both, { token: ann.token }))).toEqual(['UNAUTHENTICATED']);
  });

  test('end everywhere at once, including the current one, and API tokens stay', async () => {
    ann = await person(api);
    const { token } = await signIn(ann.email, 'password of ann');
    const program = await apiToken(token);
    const bob = await person(api, 'bob');
    const { data } = await query(api, EVERYWHERE, { token });
    expect(data.signOutEverywhere).toEqual({ sessionsEnded: 2, userErrors: [] });
    expect(await Promise.all([token, ann.token, program, bob.token].map(isValid))).toEqual([false, false, true, true]);
  });

  test('are at most 100 of a user: the one unused for longest makes room', async () => {
    ann = await person(api, 'often');
    const first = (await signIn(ann.email, 'password of often')).token;
    await api.db.execute(`UPDATE tokens SET last_used_at = now() + interval '1 hour' WHERE user_id = '${ann.id}'
      AND id = (SELECT min(id::text)::uuid FROM tokens WHERE user_id = '${ann.id}')`);
    await api.db.execute(`INSERT INTO tokens (id, user_id, kind, hash, expires_at)
      SELECT gen_random_uuid(), '${ann.id}', 'SESSION', n::text::bytea, now() + interval '1 day' FROM generate_series(1, 98) n`);
    expect(await sessionsOf(ann.token)).toHaveLength(100);
    await api.db.execute(`UPDATE tokens SET last_used_at = now() - interval '1 hour' WHERE user_id = '${ann.id}'
      AND id = (SELECT id FROM tokens WHERE user_id = '${ann.id}' AND address IS NOT NULL ORDER BY id DESC LIMIT 1)`);
    await signIn(ann.email, 'password of often');
    expect(await sessionsOf(ann.token)).toHaveLength(100);
    expect([await isValid(first), await isValid(ann.token)]).toEqual([false, true]);
  });

  test('are not accessible to API tokens', async () => {
    ann = await person(api);
    const token = await apiToken(ann.token);
    const [{ id }] = await sessionsOf(ann.token);
    const input = { current: 'password of ann', new: NEW };
    expect(codes(await query(api, REVOKE, { token, variables: { id } }))).toEqual(['FORBIDDEN']);
    expect(codes(await query(api, EVERYWHERE, { token }))).toEqual(['FORBIDDEN']);
    expect(codes(await query(api, CHANGE, { token, variables: { input } }))).toEqual(['FORBIDDEN']);
    for (const document of [EVERYWHERE, REVOKE, CHANGE]) {
      expect(codes(await query(api, document, { variables: { id, input } }))).toEqual(['UNAUTHENTICATED']);
    }
    expect(await isValid(ann.token)).toBe(true);
  });
});

describe('changing the password', () => {
  test('ends all other sessions and their open streams, and keeps the current one', async () => {
    ann = await person(api);
    const { token } = await signIn(ann.email, 'password of ann');
    const program = await apiToken(token);
    const other = socketOf(api, ann.token);
    const closed = new Promise<number>((resolve) => other.on('closed', (event) => resolve((event as CloseEvent).code)));
    const values = taker(other.iterate({ query: 'subscription { notificationAdded { id } }' }));
    const ended = values.take().catch((error: unknown) => error);
    await new Promise((resolve) => other.on('connected', resolve));
    const { data } = await query(api, CHANGE, {
      token,
      variables: { input: { current: 'password of ann', new: NEW } },
    });
    expect(data.changePassword).toEqual({ user: { id: ann.id }, userErrors: [] });
    expect(await Promise.all([token, ann.token, program].map(isValid))).toEqual([true, false, true]);
    const passedMs = stopwatch();
    expect(await closed).toBe(4403);
    await ended;
    expect(passedMs()).toBeLessThan(5_000);
    expect((await signIn(ann.email, 'password of ann')).userErrors).toEqual([{ code: 'BAD_CREDENTIALS' }]);
    expect((await signIn(ann.email, NEW)).token).toMatch(/^cvs_/);
  });

  test.each([
    [
      { current: 'not hers', new: NEW },
      { code: 'BAD_CREDENTIALS', path: ['current'] },
    ],
    [
      { current: '', new: NEW },
      { code: 'BAD_CREDENTIALS', path: ['current'] },
    ],
    [
      { current: 'password of kept', new: 'short' },
      { code: 'INVALID', path: ['new'] },
    ],
    [
      { current: 'password of kept', new: 'Password1!' },
      { code: 'INVALID', path: ['new'] },
    ],
    [
      { current: 'password of kept', new: 'nul \0 in it' },
      { code: 'INVALID', path: ['new'] },
    ],
  ])('is refused with a message that says what is valid, and changes nothing: %j', async (input, error) => {
    const kept = await person(api, 'kept');
    const other = (await signIn(kept.email, 'password of kept')).token;
    const { data } = await query(api, CHANGE, { token: kept.token, variables: { input } });
    expect(data.changePassword).toMatchObject({ user: null, userErrors: [error] });
    expect(await isValid(other)).toBe(true);
    expect((await signIn(kept.email, 'password of kept')).token).toMatch(/^cvs_/);
  });

  test('can be tried a few times a minute', async () => {
    const limits = { passwordChangesPerMinute: 2, signUpsPerAddressPerHour: 100 };
    const other = await testApi({ limits });
    const { token } = await person(other);
    const answers = [];
    for (let n = 0; n < 3; n += 1) {
      const variables = { input: { current: `guess ${n}`, new: NEW } };
      answers.push(codes(await query(other, CHANGE, { token, variables })));
    }
    await other.close();
    expect(answers).toEqual([[], [], ['RATE_LIMITED']]);
  });

  test('leaves no session of the former password, however many sign in meanwhile', async () => {
    ann = await person(api);
    const change = query(api, CHANGE, {
      token: ann.token,
      variables: { input: { current: 'password of ann', new: NEW } },
    });
    const signIns = await Promise.all([
      ...Array.from({ length: 12 }, () => signIn(ann.email, 'password of ann')),
      change.then(() => ({ token: undefined })),
    ]);
    expect((await change).data.changePassword.userErrors).toEqual([]);
    const tokens = signIns.flatMap(({ token }) => (token ? [token] : []));
    expect(await Promise.all(tokens.map(isValid))).toEqual(tokens.map(() => false));
    expect(await sessionsOf(ann.token)).toHaveLength(1);
  });
});
