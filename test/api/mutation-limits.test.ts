import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { codes, person, query, type TestApi, testApi } from './support.ts';

const MUTATIONS = 8;
const PREFER = 'mutation { updateNotificationPreference(input: { preference: ALL }) { user { id } } }';

let api: TestApi;
beforeAll(async () => {
  api = await testApi({ mutationsPerUserPerHour: MUTATIONS });
});
afterAll(() => api.close());

const rowsOf = async (userId: string) =>
  api.db.execute<{ action: string; code: string | null }>(
    sql`SELECT action, code FROM audit_events WHERE user_id = ${userId} AND action <> 'signUp' ORDER BY id`,
  );

test('an account may call a limited number of mutations per hour with all its tokens; excess calls are counted', async () => {
  const ann = await person(api, 'ann');
  const bob = await person(api, 'bob');
  const create = 'mutation { createApiToken(input: { name: "x" }) { secret apiToken { id } } }';
  const { secret, apiToken } = (await query(api, create, ann)).data.createApiToken;
  const answers = await Promise.all(
    Array.from({ length: 40 }, (_, n) => query(api, PREFER, { token: n % 2 ? secret : ann.token })),
  );
  const limited = answers.filter((answer) => codes(answer).includes('RATE_LIMITED'));
  expect(limited).toHaveLength(40 - (MUTATIONS - 1));
  expect(limited[0]?.errors?.[0]?.extensions.retryAfterSeconds).toBeGreaterThan(3_000);
  const rows = await rowsOf(ann.id);
  expect(rows.filter(({ code }) => code === null)).toHaveLength(MUTATIONS);
  expect(rows.filter(({ code }) => code === 'RATE_LIMITED')).toHaveLength(2); // one for each token
  expect(codes(await query(api, PREFER, bob))).toEqual([]);
  expect(codes(await query(api, '{ viewer { id } }', ann))).toEqual([]);

  const end = `mutation { revokeApiToken(input: { id: "${apiToken.id}" }) { apiToken { id } userErrors { code } } }`;
  expect((await query(api, end, ann)).data.revokeApiToken).toEqual({ apiToken: { id: apiToken.id }, userErrors: [] });
  const everywhere = 'mutation { signOutEverywhere { sessionsEnded } }';
  expect((await query(api, everywhere, ann)).data.signOutEverywhere).toEqual({ sessionsEnded: 1 });
});
