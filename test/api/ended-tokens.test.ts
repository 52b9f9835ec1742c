import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { disableUser, setPassword } from '../../db/accounts/accounts.ts';
import { revokeToken } from '../../db/accounts/tokens.ts';
import { lockUser } from '../../db/accounts/user-limits.ts';
import { until } from '../support/time.ts';
import { codes, createWorkflow, type Person, person, query, type TestApi, testApi } from './support.ts';

const TERMINATE =
  'mutation ($id: ID!) { terminateWorkflow(input: { id: $id }) { workflow { id } userErrors { code } } }';

describe('a token that ends during a change', () => {
  let api: TestApi;
  let ann: Person;
  let id: string;
  let tokens: { token: string; id: string; kind: 'API' | 'SESSION' }[];
  beforeAll(async () => {
    api = await testApi();
    await person(api, 'root'); // the administrator
  });
  beforeEach(async () => {
    ann = await person(api, 'ann');
    id = (await createWorkflow(api, ann, { interval: 60, maxConsecutiveJobFailuresAllowed: 3 })).workflow.id;
    const made = await query(api, 'mutation { createApiToken(input: { name: "x" }) { secret apiToken { id } } }', ann);
    const input = { email: ann.email, password: 'password of ann' };
    const signIn =
      'mutation ($input: SignInInput!) { signIn(input: $input) { token user { sessions { id current } } } }';
    const token = (await query(api, signIn, { variables: { input } })).data.signIn.token;
    const { sessions } = (await query(api, '{ viewer { sessions { id current } } }', { token })).data.viewer;
    const { secret, apiToken } = made.data.createApiToken;
    tokens = [
      { token: secret, id: apiToken.id, kind: 'API' },
      { token, id: sessions.find(({ current }: { current: boolean }) => current).id, kind: 'SESSION' },
    ];
  });
  afterAll(() => api.close());

  /** Takes locks and resolves with the function that releases them. */
  async function hold(take: (tx: Parameters<Parameters<typeof api.db.transaction>[0]>[0]) => Promise<unknown>) {
    return new Promise<() => Promise<void>>((held, failed) => {
      const done = api.db.transaction(async (tx) => {
        await take(tx);
        await new Promise<void>((release) => {
          held(async () => {
            release();
            await done;
          });
        });
      });
      done.catch(failed);
    });
  }
  const waiting = (count: number) =>
    until(`${count} wait for a lock`, async () => {
      const [row] = await api.db.execute<{ count: number }>(sql`
        SELECT count(*)::integer AS count FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`);
      return row?.count === count ? 'WAITS' : undefined;
    });
  const isTerminated = async () => {
    const [row] = await api.db.execute<{ ended: boolean }>(
      sql`SELECT terminated_at IS NOT NULL AS ended FROM workflows WHERE id = ${id}`,
    );
    return row?.ended;
  };
  const byOther = (document: string) => query(api, document, { token: ann.token });
  const revoke = (name: string, which: number) => () =>
    byOther(`mutation { ${name}(input: { id: "${tokens[which]?.id}" }) { userErrors { code } } }`);

  const ends: [string, number, () => Promise<unknown>][] = [
    ['revokeApiToken', 0, revoke('revokeApiToken', 0)],
    ['revokeSession', 1, revoke('revokeSession', 1)],
    ['signOutEverywhere', 1, () => byOther('mutation { signOutEverywhere { sessionsEnded } }')],
    [
      'changePassword',
      1,
      () =>
        byOther(
          'mutation { changePassword(input: { current: "password of ann", new: "a whole new one" }) { user { id } } }',
        ),
    ],
    ['users set-password', 1, () => setPassword(api.db, { email: ann.email, passwordHash: '!' })],
    ['users disable', 0, () => disableUser(api.db, ann.email)],
    ['users disable', 1, () => disableUser(api.db, ann.email)],
  ];

  test.each(ends)('%s waits for a change that has begun (token %i), and none follows it', async (_, which, end) => {
    const { token = '' } = tokens[which] ?? {};
    const release = await hold((tx) => tx.execute(sql`SELECT FROM workflows WHERE id = ${id} FOR UPDATE`));
    const change = query(api, TERMINATE, { token, variables: { id } });
    await waiting(1);
    const ending = end();
    const first = await Promise.race([ending.then(() => 'ENDED'), waiting(2)]);
    await release();
    expect(first).toBe('WAITS');
    expect(codes(await change)).toEqual([]);
    expect(await isTerminated()).toBe(true);
    await ending;
    expect(codes(await query(api, '{ viewer { id } workflows { nodes { id } } }', { token }))).toContain(
      'UNAUTHENTICATED',
    );
  });

  test.each([0, 1])('a change that arrives while its token is being ended is not made (token %i)', async (which) => {
    const { token = '', id: tokenId = '', kind = 'API' } = tokens[which] ?? {};
    const release = await hold(async (tx) => {
      await lockUser(tx, ann.id);
      await revokeToken(tx, { userId: ann.id, id: tokenId, kind });
    });
    const change = query(api, TERMINATE, { token, variables: { id } });
    await waiting(1);
    await release();
    expect(codes(await change)).toEqual(['UNAUTHENTICATED']);
    expect(await isTerminated()).toBe(false);
  });

  test('a session cannot create an API token after its own end', async () => {
    const { token = '', id: sessionId = '' } = tokens[1] ?? {};
    const release = await hold((tx) => lockUser(tx, ann.id));
    const ending = byOther(`mutation { revokeSession(input: { id: "${sessionId}" }) { userErrors { code } } }`);
    await waiting(1);
    const made = query(api, 'mutation { createApiToken(input: { name: "y" }) { secret } }', { token });
    await waiting(2);
    await release();
    expect(codes(await ending)).toEqual([]);
    expect(codes(await made)).toEqual(['UNAUTHENTICATED']);
    const { apiTokens } = (await byOther('{ viewer { apiTokens { name } } }')).data.viewer;
    expect(apiTokens).toEqual([{ name: 'x' }]);
  });

  test("two browsers that each sign in as the other's user at once do not deadlock", async () => {
    const bob = await person(api, 'bob');
    const signIn = 'mutation ($input: SignInInput!) { signIn(input: $input) { user { id } userErrors { code } } }';
    const as = (who: Person, name: string, from: Person) =>
      query(api, signIn, {
        token: from.token,
        variables: { input: { email: who.email, password: `password of ${name}` } },
      });
    const answers = await Promise.all(
      Array.from({ length: 4 }, (_, n) => (n % 2 ? as(ann, 'ann', bob) : as(bob, 'bob', ann))),
    );
    for (const [n, { data }] of answers.entries()) expect(data.signIn.user.id).toBe(n % 2 ? ann.id : bob.id);
  });
});
