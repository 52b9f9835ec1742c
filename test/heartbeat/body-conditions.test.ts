import { describe, expect, test } from 'vitest';
import type { CheckLine } from '../../workers/execution/check.ts';
import { answering, check, outcome, response } from './support.ts';

const STATUS = { status: 'ok', 'a name': { "it's": [1, 2] }, nodes: [{ up: true }, { up: false }], none: null };
const json = (value: unknown) => response(['Content-Type: application/json'], Buffer.from(JSON.stringify(value)));

/** Takes RE2 seconds. */
const SLOW = '(?:[a-z]{1,40}[^<]{1,40}){1,10}\\d{6}';
const PAGE = Buffer.from(Array.from({ length: 200_000 }, (_, n) => String.fromCharCode(97 + ((n * n) % 26))).join(''));

function stall(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

describe('a heartbeat whose body must match an expression', () => {
  test('finds it anywhere, in the text of its charset', async () => {
    const page = Buffer.from('<p>Größe: 42\nready in 3 s</p>', 'latin1');
    const { endpoint } = await answering(response(['Content-Type: text/html; charset=latin1'], page));
    for (const pattern of ['Größe: \\d+', '(?i)READY', '(?m)^ready', '\\p{L}ö', 's</p>$'])
      expect(outcome(await check({ endpoint, body_matches: pattern }))).toBe('ok');
    expect(outcome(await check({ endpoint, body_matches: '^ready' }))).toMatch(
      / with a body \(\d+ bytes, latin1\) that begins "<p>Größe: 42\\nready.*"\. One that matches the regular expression "\^ready" was expected\.$/,
    );
    expect(outcome(await check({ endpoint, body_matches: 'Gr', body_contains: 'no' }))).toMatch(/contains "no"/);
  });

  test('holds up nobody when the expression takes long', async () => {
    const { endpoint } = await answering(response([], PAGE));
    const slow = { endpoint, body_matches: SLOW, timeout_seconds: 60 };
    const [first, quick, second] = await Promise.all([
      check(slow, { userId: 'ann' }),
      check({ endpoint, body_matches: 'a' }, { userId: 'bob' }),
      check(slow, { userId: 'ann' }),
    ]);
    expect(outcome(quick)).toBe('ok');
    for (const one of [first, second]) expect(outcome(one)).toMatch(/that the regular expression takes too long for\./);
    expect(outcome(await check({ endpoint, body_matches: 'b' }))).toBe('ok');
  });

  test('gives up with the check', async () => {
    const { endpoint } = await answering(response([], PAGE));
    const slow = { endpoint, body_matches: SLOW, timeout_seconds: 60 };
    const other = check(slow);
    const late = await check({ ...slow, timeout_seconds: 0.5 });
    expect(outcome(late)).toBe(
      'SYSTEM: Timed out after 0.5 s waiting for a turn to try the regular expression on the body. This worker has too much to do.',
    );
    await other;
    expect(outcome(await check({ ...slow, timeout_seconds: 0.5 }))).toMatch(
      /^TIMEOUT: .* waiting for the regular expression to be tried on the body\.$/,
    );
  });

  test('tries the expressions of a user whose last one was too slow after all others', async () => {
    const { endpoint } = await answering(response([], PAGE));
    const ended: string[] = [];
    const named = (userId: string, body_matches: string) =>
      check({ endpoint, body_matches, timeout_seconds: 60 }, { userId }).then(() => ended.push(userId));
    await named('ann', SLOW);
    const blocking = named('cem', SLOW);
    const slowUser = named('ann', 'a');
    await Promise.all([blocking, slowUser, named('bob', 'a')]);
    expect(ended.filter((one) => one !== 'cem')).toEqual(['ann', 'bob', 'ann']);
  });

  test('does not take a stall of the worker for a slow expression', async () => {
    const { endpoint } = await answering(response([], PAGE));
    expect(outcome(await check({ endpoint, body_matches: 'a' }))).toBe('ok');
    const lines: CheckLine[] = [];
    lines.push = (...added) => {
      // The body has come: the expression is tried while nothing else goes on.
      if (added[0]?.text.startsWith('200 OK')) setImmediate(() => stall(1_300));
      return Array.prototype.push.apply(lines, added);
    };
    expect(outcome(await check({ endpoint, body_matches: 'a' }, { lines }))).toBe('ok');
  });
});

describe('a heartbeat whose body must have a value in its JSON', () => {
  test.each<[path: string, value?: string]>([
    ['$.status', 'ok'],
    ['$.status'],
    ["$['a name']['it\\'s'][1]", '2'],
    ['$["a name"]["it\'s"][-1]', '2'],
    ['$.nodes[0].up', 'true'],
    ['$.nodes[*].up', 'false'],
    ['$.*', 'ok'],
    ['$.none', 'null'],
    ['$'],
  ])('finds %s', async (path, value) => {
    const { endpoint } = await answering(json(STATUS));
    expect(outcome(await check({ endpoint, body_json: { path, value } }))).toBe('ok');
  });

  test.each<[path: string, value: string | undefined, body: unknown, said: RegExp]>([
    ['$.status', 'down', STATUS, /that has "ok" at \$\.status\. JSON with "down" at \$\.status was expected\.$/],
    ['$.nodes', 'x', STATUS, /that has "a list" at \$\.nodes\./],
    ['$.nodes[2]', undefined, STATUS, /that has nothing at \$\.nodes\[2\], and begins "\{\\"status/],
    ['$.constructor', undefined, STATUS, /that has nothing at \$\.constructor/],
    ['$[0]', undefined, 'text', /that has nothing at \$\[0\]/],
  ])('says what is there instead of %s', async (path, value, body, said) => {
    const { endpoint } = await answering(json(body));
    expect(outcome(await check({ endpoint, body_json: { path, value } }))).toMatch(said);
  });

  test.each([
    ['5.00', '5'],
    ['5', '5.0'],
    ['0.5e1', '5'],
    ['12345678901234567890', '12345678901234567890'],
  ])('finds the number %s as %s', async (written, value) => {
    const { endpoint } = await answering(response([], Buffer.from(`{"n":${written}}`)));
    expect(outcome(await check({ endpoint, body_json: { path: '$.n', value } }))).toBe('ok');
    expect(outcome(await check({ endpoint, body_json: { path: '$.n', value: '' } }))).toMatch(/^CHECK_FAILED/);
  });

  test('says that a body is no JSON, or too long for it', async () => {
    const page = await answering(response([], Buffer.from('<html>')));
    expect(outcome(await check({ endpoint: page.endpoint, body_json: { path: '$' } }))).toMatch(
      /that is not JSON and begins "<html>"\. JSON with something at \$ was expected\.$/,
    );
    const long = await answering(json(['x'.repeat(1024 * 1024)]));
    expect(outcome(await check({ endpoint: long.endpoint, body_json: { path: '$' } }))).toMatch(/too long for JSON/);
    const deep = await answering(response([], Buffer.from('['.repeat(500_000) + ']'.repeat(500_000))));
    expect(outcome(await check({ endpoint: deep.endpoint, body_json: { path: '$[0][0]', value: '1' } }))).toMatch(
      /^CHECK_FAILED: .* that has "a list" at/,
    );
  });
});
