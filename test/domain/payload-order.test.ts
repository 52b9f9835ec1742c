import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parsePayload } from '../../domain/payload/input.ts';
import { printPayload } from '../../domain/payload/print.ts';
import { isBlank, textProblem } from '../../domain/text.ts';

const LIMITS = { maxJobSeconds: 86_400 };

/**
 * The document printed for this one after a round trip through storage, where jsonb orders keys by
 * length.
 */
function readBack(json: string): string {
  const { value, problems } = parsePayload({ json }, LIMITS);
  if (!value) throw new Error(JSON.stringify(problems));
  return printPayload(JSON.parse(JSON.stringify(value, byLength)));
}

function byLength(_: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => a.length - b.length || (a < b ? -1 : 1)));
}

function container(env: string): string {
  return `{"kind":"CONTAINER","image":"alpine","env":{${env}}}`;
}

describe('names of environment variables and headers', () => {
  test.each([
    ['of odd lengths', '"LONGEST_OF_ALL":"1","A":"2","MIDDLE":"3","B":"4"'],
    ['of digits', '"10":"a","2":"b","X":"c","1":"d","02":"e","-1":"f"'],
    ['in any script', '"Ω":"1","é":"2","𝒳":"3","a b":"4","\\"":"5","\\\\":"6",":":"7","{":"8"'],
    ['that objects have', '"toString":"1","__proto__":"2","constructor":"3","10":"4"'],
    ['that look like keys of the document', '"kind":"1","env":"2","order":"3","env:":"4"'],
    ['of secrets', '"Z":{"secret":true},"1":{"secret":true},"A":"x"'],
  ])('%s are read back in the order in which they were given', (_, env) => {
    expect(readBack(container(env))).toBe(container(env));
  });

  test('keep their order whatever they and their values are', () => {
    const name = fc.oneof(
      fc.string({ minLength: 1, unit: 'binary' }),
      fc.nat().map(String),
      fc.constantFrom('__proto__'),
    );
    const isGood = (text: string) => !text.includes('=') && textProblem(text) === undefined && !isBlank(text);
    const names = fc.uniqueArray(name.filter(isGood), { maxLength: 100 });
    const value = fc.string().filter((text) => textProblem(text) === undefined);
    fc.assert(
      fc.property(names, value, fc.constantFrom('', ' ', '\n\t'), (all, text, space) => {
        const env = all.map((one) => `${JSON.stringify(one)}:${JSON.stringify(text)}`);
        const spaced = all.map((one) => `${JSON.stringify(one)}${space}:${space}${JSON.stringify(text)}`);
        const expected = env.length === 0 ? '{"kind":"CONTAINER","image":"alpine"}' : container(env.join());
        expect(readBack(container(spaced.join(`${space},`)))).toBe(expected);
      }),
      { numRuns: 300 },
    );
  });

  test('take the place of the first and the value of the last if a document has one twice', () => {
    expect(readBack(container('"B":"1","10":"x","A":"2","B":"3"'))).toBe(container('"B":"3","10":"x","A":"2"'));
  });

  test('are found if the document writes its key with escapes, or twice', () => {
    const written = '{"kind":"CONTAINER","image":"alpine","env":{"Z":"0"},"\\u0065nv":{"ZZ":"1","9":"2"}}';
    expect(readBack(written)).toBe(container('"ZZ":"1","9":"2"'));
  });

  test('keep their order as typed input', () => {
    const headers = ['X-Long-Name', '10', 'A', '2'].map((name) => ({ name, value: 'v' }));
    const { value } = parsePayload({ heartbeat: { endpoint: 'http://a', headers } }, LIMITS);
    if (!value) throw new Error('It was refused.');
    expect(printPayload(value)).toBe(
      '{"kind":"HEARTBEAT","endpoint":"http://a","headers":{"X-Long-Name":"v","10":"v","A":"v","2":"v"}}',
    );
  });

  test('use none of the bytes that a payload may have', () => {
    const names = Array.from({ length: 100 }, (_, n) => `${n}_${'N'.repeat(300)}`);
    const env = names.map((name) => ({ name, value: '' }));
    const bare = JSON.stringify({ kind: 'CONTAINER', image: 'a', env: Object.fromEntries(names.map((n) => [n, ''])) });
    const filled = { image: 'a', env, args: ['x'.repeat(64 * 1024 - bare.length - ',"args":[""]'.length)] };
    expect(parsePayload({ container: filled }, LIMITS).problems).toBeUndefined();
    const over = { ...filled, args: [`${filled.args[0]}x`] };
    expect(parsePayload({ container: over }, LIMITS).problems?.[0]?.message).toContain('at most 65536 bytes');
  });
});

describe('keys of objects within the document', () => {
  test('are printed in a fixed order, the kind first', () => {
    const given =
      '{"resources":{"pids":9,"memory_mb":64,"cpus":1},"volumes":[{"read_only":true,"path":"/a","name":"v"}],"build":{"files":[{"content":"","path":"x"}],"dockerfile":"FROM a"},"kind":"CONTAINER"}';
    expect(readBack(given)).toBe(
      '{"kind":"CONTAINER","volumes":[{"name":"v","path":"/a","read_only":true}],"resources":{"cpus":1,"memory_mb":64,"pids":9},"build":{"dockerfile":"FROM a","files":[{"path":"x","content":""}]}}',
    );
  });
});
