import pino from 'pino';
import { afterEach, expect, test } from 'vitest';
import { startApi } from '../../api/server.ts';
import { connect } from '../../db/client.ts';
import { testSealer } from '../support/workers.ts';
import { codes, query, type TestApi, testApi } from './support.ts';

const INPUT = { input: { email: 'ann@example.com', password: 'correct horse' } };
const SIGN_UP = 'mutation ($input: SignUpInput!) { signUp(input: $input) { token } }';
const SIGN_IN = 'mutation ($input: SignInInput!) { signIn(input: $input) { token } }';
const LIMITS = { signUpsPerAddressPerHour: 2, signInsPerAddressPerMinute: 2 };

let api: TestApi;
afterEach(() => api.close());

test('tries in an outage of the database do not count', async () => {
  api = await testApi({ limits: LIMITS });
  const gone = connect('postgres://nobody:nothing@127.0.0.1:1/none', { max: 1, application: 'test' });
  const { bus, cache } = api;
  const log = pino({ level: 'silent' });
  const settings = { port: 0, host: '127.0.0.1', databaseEmbedded: false, maxJobSeconds: 1, limits: LIMITS };
  const away = await startApi({
    ...{ db: gone.db, bus, cache, log, sealer: testSealer },
    settings: { ...settings, signUp: 'open' },
  });
  for (let n = 0; n < 4; n += 1)
    for (const document of [SIGN_UP, SIGN_IN])
      expect(codes(await query(away, document, { variables: INPUT }))).toEqual(['UNAVAILABLE']);
  expect((await query(api, SIGN_UP, { variables: INPUT })).data.signUp.token).toEqual(expect.any(String));
  expect((await query(api, SIGN_IN, { variables: INPUT })).data.signIn.token).toEqual(expect.any(String));
  await query(api, SIGN_UP, { variables: INPUT });
  expect(codes(await query(api, SIGN_UP, { variables: INPUT }))).toEqual(['RATE_LIMITED']);
  await away.close();
  await gone.close();
});
