import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createPasswords } from '../../api/auth/passwords.ts';
import { createUser } from '../../db/accounts/accounts.ts';
import { codes, person, query, type TestApi, testApi } from './support.ts';

const SIGN_UP =
  'mutation ($input: SignUpInput!) { signUp(input: $input) { user { id email } token userErrors { code path message } } }';
const SIGN_IN =
  'mutation ($input: SignInInput!) { signIn(input: $input) { user { id } token userErrors { code path message } } }';
const VIEWER = '{ viewer { id email apiTokens { id name lastUsedAt expiresAt } } }';

describe('an account', () => {
  let api: TestApi;
  beforeAll(async () => {
    api = await testApi();
  });
  afterAll(() => api.close());

  test('can sign up and sign in, and only its own viewer sees it', async () => {
    const input = { email: 'Ann@Example.com', password: 'correct horse' };
    const { data } = await query(api, SIGN_UP, { variables: { input } });
    expect(data.signUp).toMatchObject({ user: { email: 'ann@example.com' }, userErrors: [] });
    const again = await query(api, SIGN_IN, { variables: { input: { ...input, email: 'ANN@example.COM' } } });
    expect(again.data.signIn.user.id).toBe(data.signUp.user.id);
    expect((await query(api, VIEWER, { token: again.data.signIn.token })).data.viewer.email).toBe('ann@example.com');
    expect((await query(api, VIEWER)).data).toEqual({ viewer: null });
    const twice = await query(api, SIGN_UP, { variables: { input } });
    expect(twice.data.signUp).toMatchObject({
      user: null,
      token: null,
      userErrors: [{ code: 'ALREADY_EXISTS', path: ['email'] }],
    });
  });

  test('answers a wrong password as it answers an account that does not exist', async () => {
    const { email } = await person(api, 'guessed');
    const wrong = await query(api, SIGN_IN, { variables: { input: { email, password: 'wrong password' } } });
    const unknown = await query(api, SIGN_IN, {
      variables: { input: { email: 'nobody@example.com', password: 'wrong password' } },
    });
    const impossible = await query(api, SIGN_IN, { variables: { input: { email: 'no\0body', password: '' } } });
    expect(wrong.data.signIn.userErrors).toMatchObject([{ code: 'BAD_CREDENTIALS' }]);
    expect(unknown.data).toEqual(wrong.data);
    expect(impossible.data).toEqual(wrong.data);
  });

  test.each([
    [{ email: 'no address', password: 'long enough' }, ['email']],
    [{ email: 'ann@example.com', password: 'short' }, ['password']],
    [{ email: 'ann@example.com', password: 'x'.repeat(201) }, ['password']],
    [{ email: 'ann@example.com', password: 'long \0 enough' }, ['password']],
    [{ email: `${'a'.repeat(250)}@example.com`, password: 'long enough' }, ['email']],
    [{ email: 'ann@example.com', password: 'Password2026!' }, ['password']],
    [{ email: 'ann@example.com', password: 'ann@example.com' }, ['password']],
    [{ email: 'ann@example.com', password: 'abcdefgh' }, ['password']],
  ])('is refused with a message that says what is valid: %j', async (input, path) => {
    const { data } = await query(api, SIGN_UP, { variables: { input } });
    expect(data.signUp).toMatchObject({ user: null, userErrors: [{ code: 'INVALID', path }] });
  });

  test('can still sign in with a password from before common passwords were refused', async () => {
    const passwordHash = await createPasswords().hash('12345678');
    await createUser(api.db, { email: 'early@example.com', passwordHash });
    const input = { email: 'early@example.com', password: '12345678' };
    expect((await query(api, SIGN_IN, { variables: { input } })).data.signIn.token).toMatch(/^cvs_/);
  });

  test('ends its session at once by signing out', async () => {
    const { token } = await person(api);
    expect(
      (await query(api, 'mutation { signOut { userErrors { code } } }', { token })).data.signOut.userErrors,
    ).toEqual([]);
    expect(codes(await query(api, VIEWER, { token }))).toEqual(['UNAUTHENTICATED']);
    expect(codes(await query(api, 'mutation { signOut { userErrors { code } } }'))).toEqual(['UNAUTHENTICATED']);
  });

  test('has API tokens whose secret is shown once and which end when they are revoked', async () => {
    const { token } = await person(api);
    const create =
      'mutation ($input: CreateApiTokenInput!) { createApiToken(input: $input) { apiToken { id } secret userErrors { code path } } }';
    const past = await query(api, create, {
      token,
      variables: { input: { name: 'ci', expiresAt: '2020-01-01T00:00:00Z' } },
    });
    expect(past.data.createApiToken).toEqual({
      apiToken: null,
      secret: null,
      userErrors: [{ code: 'INVALID', path: ['expiresAt'] }],
    });
    const expiresAt = new Date(Date.now() + 30 * 86_400_000).toISOString().replace('Z', '+00:00');
    const { data } = await query(api, create, {
      token,
      variables: { input: { name: 'ci', expiresAt } },
    });
    const { secret, apiToken } = data.createApiToken;
    expect(secret).toMatch(/^cva_/);
    const seen = await query(api, VIEWER, { token: secret });
    expect(seen.data.viewer.apiTokens).toMatchObject([
      { id: apiToken.id, name: 'ci', expiresAt: new Date(expiresAt).toISOString() },
    ]);
    await expect
      .poll(async () => (await query(api, VIEWER, { token })).data.viewer.apiTokens[0].lastUsedAt)
      .not.toBeNull();

    const revoke =
      'mutation ($id: ID!) { revokeApiToken(input: { id: $id }) { apiToken { id } userErrors { code path } } }';
    const bob = await person(api, 'bob');
    const foreign = await query(api, revoke, { token: bob.token, variables: { id: apiToken.id } });
    expect(foreign.data.revokeApiToken).toEqual({ apiToken: null, userErrors: [{ code: 'NOT_FOUND', path: ['id'] }] });
    expect((await query(api, revoke, { token, variables: { id: apiToken.id } })).data.revokeApiToken.apiToken).toEqual(
      apiToken,
    );
    expect(codes(await query(api, VIEWER, { token: secret }))).toEqual(['UNAUTHENTICATED']);
    expect(
      (await query(api, revoke, { token, variables: { id: 'malformed' } })).data.revokeApiToken.userErrors,
    ).toMatchObject([{ code: 'NOT_FOUND' }]);
  });

  test.each(['cvs_wrong', 'x', `cvs_${'a'.repeat(43)}`])(
    'refuses the token %j everywhere, even where no token is needed',
    async (token) => {
      expect(codes(await query(api, '{ viewer { id } }', { token }))).toEqual(['UNAUTHENTICATED']);
      expect(codes(await query(api, '{ system { version } }', { token }))).toEqual(['UNAUTHENTICATED']);
      expect(codes(await query(api, '{ system { version } }', { headers: { authorization: 'Basic YTpi' } }))).toEqual([
        'UNAUTHENTICATED',
      ]);
    },
  );

  test('gives a browser a session cookie that scripts cannot read, and removes it again', async () => {
    const input = { email: 'cookie@example.com', password: 'correct horse' };
    const post = (document: string, headers: Record<string, string> = {}) =>
      fetch(api.url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify({ query: document, variables: { input } }),
      });
    const signedUp = await post(SIGN_UP);
    const cookie = signedUp.headers.get('set-cookie') ?? '';
    expect(cookie).toMatch(/^chronoverse_session=cvs_[\w-]{43}; Path=\/; Max-Age=2592000; HttpOnly; SameSite=Lax$/);
    const header = { cookie: cookie.split(';')[0] ?? '' };
    expect(await (await post('{ viewer { email } }', header)).json()).toEqual({
      data: { viewer: { email: input.email } },
    });
    const signedOut = await post('mutation { signOut { userErrors { code } } }', header);
    expect(signedOut.headers.get('set-cookie')).toMatch(/^chronoverse_session=; .*Max-Age=0/);
    const stale = await post('{ viewer { email } }', header);
    expect(codes(await stale.json())).toEqual(['UNAUTHENTICATED']);
    expect(stale.headers.get('set-cookie')).toMatch(/Max-Age=0/);
  });

  test('stores no password and no token in plain text', async () => {
    const { token, email } = await person(api, 'stored');
    const dump = JSON.stringify([
      await api.db.execute('SELECT * FROM users'),
      await api.db.execute("SELECT id, encode(hash, 'escape') FROM tokens"),
    ]);
    expect(dump).toContain(email);
    expect(dump).not.toContain('password of stored');
    expect(dump).not.toContain(token.slice(4));
    expect(dump).toContain('$argon2id$v=19$m=19456,t=2,p=1$');
  });
});

describe('signing up', () => {
  let api: TestApi;
  beforeAll(async () => {
    api = await testApi({
      limits: { signUpsPerAddressPerHour: 2 },
    });
  });
  afterAll(() => api.close());

  test('is limited to a few attempts an hour per address', async () => {
    const answers = [];
    for (const name of ['a', 'b', 'c']) {
      answers.push(
        await query(api, SIGN_UP, {
          variables: { input: { email: `${name}@example.com`, password: 'some password' } },
        }),
      );
    }
    expect(answers.map(codes)).toEqual([[], [], ['RATE_LIMITED']]);
    expect(answers[2]?.errors?.[0]?.message).toMatch(/try again in \d+ seconds/);
  });
});
