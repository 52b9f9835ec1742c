import { afterEach, describe, expect, test } from 'vitest';
import { codes, query, type TestApi, testApi } from './support.ts';

const SIGN_IN = 'mutation ($input: SignInInput!) { signIn(input: $input) { token userErrors { code } } }';
const SIGN_UP = 'mutation ($input: SignUpInput!) { signUp(input: $input) { token } }';
const PASSWORD = 'correct horse';
const OWNER = '198.51.100.1';
const STRANGER = '203.0.113.7';

let api: TestApi;
afterEach(() => api.close());

/** The result of a sign-in from `address`, with a wrong password unless `password` is given. */
async function signIn(address: string, { email = 'ann@example.com', password = 'wrong password' } = {}) {
  const headers = { 'x-forwarded-for': address };
  const answer = await query(api, SIGN_IN, { variables: { input: { email, password } }, headers });
  return answer.data?.signIn.token ? 'IN' : (answer.data?.signIn.userErrors[0].code ?? codes(answer)[0]);
}

async function times(count: number, run: (n: number) => Promise<unknown>): Promise<unknown[]> {
  const outcomes = [];
  for (let n = 0; n < count; n += 1) outcomes.push(await run(n));
  return outcomes;
}

async function start(limits: NonNullable<Parameters<typeof testApi>[0]>['limits']): Promise<void> {
  const many = {
    signInsPerAccountPerMinute: 1_000,
    signInsPerAccountFromStrangersPerMinute: 1_000,
    signInsPerAddressPerMinute: 1_000,
  };
  api = await testApi({ trustProxy: 1, limits: { ...many, ...limits } });
  const input = { email: 'ann@example.com', password: PASSWORD };
  await query(api, SIGN_UP, { variables: { input }, headers: { 'x-forwarded-for': OWNER } });
}

const no = 'BAD_CREDENTIALS';

describe('wrong passwords', () => {
  test('lock out the address that sends them, for that account and no others', async () => {
    await start({ signInsPerAccountPerMinute: 3 });
    expect(await times(4, () => signIn(STRANGER))).toEqual([no, no, no, 'RATE_LIMITED']);
    expect(await signIn(STRANGER, { email: 'ANN@example.com', password: PASSWORD })).toBe('RATE_LIMITED');
    expect(await signIn(STRANGER, { email: 'bob@example.com' })).toBe(no);
    expect(await signIn(OWNER, { password: PASSWORD })).toBe('IN');
    // The owner from another address.
    expect(await signIn('192.0.2.99', { password: PASSWORD })).toBe('IN');
  });

  test('from one address are limited, whatever the account', async () => {
    await start({ signInsPerAddressPerMinute: 5 });
    const outcomes = await times(6, (n) => signIn(STRANGER, { email: `${n}@example.com` }));
    expect(outcomes).toEqual([no, no, no, no, no, 'RATE_LIMITED']);
    expect(await signIn(OWNER, { password: PASSWORD })).toBe('IN');
  });

  test('of all addresses of one IPv6 /64 count together, and those of another do not', async () => {
    await start({ signInsPerAddressPerMinute: 3 });
    const outcomes = await times(4, (n) => signIn(`2a00:1:2:3:${n}::${n}`, { email: `${n}@example.com` }));
    expect(outcomes).toEqual([no, no, no, 'RATE_LIMITED']);
    expect(await signIn('2a00:1:2:4::1')).toBe(no);
    await times(3, () => signIn('203.0.113.9'));
    expect(await signIn('::ffff:203.0.113.9')).toBe('RATE_LIMITED');
  });

  test('from many addresses are slowed together, except from addresses where the owner signed in before', async () => {
    await start({ signInsPerAccountFromStrangersPerMinute: 4 });
    const outcomes = await times(5, (n) => signIn(`203.0.113.${n}`));
    expect(outcomes).toEqual([no, no, no, no, 'RATE_LIMITED']);
    expect(await signIn('192.0.2.99', { password: PASSWORD })).toBe('RATE_LIMITED');
    expect(await times(6, () => signIn(OWNER, { password: PASSWORD }))).toEqual(Array(6).fill('IN'));
    expect(await signIn(STRANGER, { email: 'bob@example.com' })).toBe(no);
  });

  test('are slowed the same way for an email without an account', async () => {
    await start({ signInsPerAccountFromStrangersPerMinute: 2, signInsPerAccountPerMinute: 3 });
    for (const email of ['ann@example.com', 'nobody@example.com', 'no address']) {
      const outcomes = await times(3, (n) => signIn(`203.0.113.${n}`, { email }));
      expect(outcomes, email).toEqual([no, no, 'RATE_LIMITED']);
    }
  });
});

test('an account keeps the last 20 addresses from which it signed in', async () => {
  await start({ signInsPerAccountFromStrangersPerMinute: 25 });
  await times(21, (n) => signIn(`192.0.2.${n}`, { password: PASSWORD }));
  const [row] = await api.db.execute<{ count: number; first: boolean }>(
    `SELECT count(*)::int AS count, bool_or(address = '${OWNER}') AS first FROM known_addresses`,
  );
  expect(row).toEqual({ count: 20, first: false });
});
