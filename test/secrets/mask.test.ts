import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createMask } from '../../domain/masking/mask.ts';
import { createLineCutter } from '../../workers/shared/log-collector/lines.ts';
import { maskLines } from '../../workers/shared/log-collector/mask-lines.ts';
import { cpuMs } from '../support/cpu-time.ts';

const STAMP = '2026-11-24T12:24:27.254500310Z';
const FRAME_BYTES = 16 * 1024;

/** The lines that result from `printed` when the engine frames it. */
function linesOf(printed: string, secrets: string[]): string[] {
  const lines: string[] = [];
  const writer = maskLines(
    {
      onLine: (_, bytes, start, end) => void lines.push(bytes.toString('utf8', start + STAMP.length + 1, end - 1)),
      room: () => undefined,
    },
    createMask(secrets),
  );
  const cutter = createLineCutter(writer.onLine);
  for (const line of printed.match(/[^\n]*\n|[^\n]+$/g) ?? []) {
    const bytes = Buffer.from(line);
    for (let at = 0; at < bytes.length; at += FRAME_BYTES) {
      const frame = Buffer.concat([Buffer.from(`${STAMP} `), bytes.subarray(at, at + FRAME_BYTES)]);
      cutter.onFrame(1, frame, 0, frame.length);
    }
  }
  cutter.end();
  return lines;
}

describe('a mask', () => {
  test('replaces every secret, wherever it is in a line', () => {
    expect(linesOf('hunter2\nmy hunter2, hunter2\nhunter\n2hunter22\n', ['hunter2'])).toEqual([
      '***',
      'my ***, ***',
      'hunter',
      '2***2',
    ]);
  });

  test('leaves no part of secrets that overlap or contain each other', () => {
    expect(linesOf('abcdefgh abcd cdefgh\n', ['abcd', 'cdefgh', 'abcdef'])).toEqual(['*** *** ***']);
  });

  test('treats secrets literally: no patterns, any script', () => {
    expect(
      linesOf('a.c* pässwörd aXcc $& \u{1f511}\u{1f512}\n', ['a.c*', 'pässwörd', '$&$&', '\u{1f511}\u{1f512}']),
    ).toEqual(['*** *** aXcc $& ***']);
  });

  test('looks for each line of a multi-line secret', () => {
    const pem = '-----BEGIN KEY-----\r\nMIIEvQIBADAN\nab\n-----END KEY-----\n';
    expect(linesOf(pem.replaceAll('\r', ''), [pem])).toEqual(['***', '***', 'ab', '***']);
  });

  test('ignores values shorter than 4 bytes, and does not exist if nothing is long enough', () => {
    expect(createMask(['', 'abc', 'a\nb'])).toBeUndefined();
    expect(linesOf('abc\n', ['abc'])).toEqual(['abc']);
  });

  test('finds a secret across the frames of a line, and across the pieces of a long line', () => {
    const secret = 'open-sesame-4711';
    const pieceBytes = 64 * 1024;
    for (let before = pieceBytes - secret.length - 1; before <= pieceBytes + 1; before++) {
      const printed = `${'x'.repeat(before)}${secret}${'y'.repeat(10)}\n`;
      const joined = linesOf(printed, [secret]).join('');
      expect(joined).toContain('***');
      expect(joined).not.toMatch(/pen-|esame|4711/);
      expect(joined.endsWith('y'.repeat(10))).toBe(true);
    }
    expect(linesOf(`${'x'.repeat(FRAME_BYTES - 5)}${secret}\n`, [secret])).toEqual([
      `${'x'.repeat(FRAME_BYTES - 5)}***`,
    ]);
  });

  test('finds what a plain search finds in texts made to mislead it, in one piece or several', () => {
    const ab = (max: number) => fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 4, maxLength: max });
    fc.assert(
      fc.property(ab(60), fc.array(ab(6), { minLength: 1, maxLength: 3 }), fc.nat(60), (text, secrets, cutAt) => {
        const covered = [...text].map((_, at) =>
          secrets.some((secret) => {
            for (let from = Math.max(0, at - secret.length + 1); from <= at; from++)
              if (text.startsWith(secret, from)) return true;
            return false;
          }),
        );
        const expected = text
          .replace(/./g, (letter, at: number) => (covered[at] ? '*' : letter))
          .replaceAll(/\*+/g, '***');
        const mask = createMask(secrets);
        expect(mask?.text(text)).toBe(expected);

        const first = mask?.piece(text.slice(0, cutAt), undefined, true);
        const rest = mask?.piece(text.slice(cutAt), first?.begun, false);
        const seen = `${first?.masked ?? text.slice(0, cutAt)}|${rest?.masked ?? text.slice(cutAt)}`;
        for (const secret of secrets) expect(seen.replace('|', '')).not.toContain(secret);
      }),
    );
  });

  const text = fc.string({ unit: 'grapheme', minLength: 8, maxLength: 40 }).filter((one) => !/[\r\n]/.test(one));
  const inner = (json: string) => json.slice(1, -1);
  const FORMS: [string, (secret: string) => string][] = [
    ['JSON', (secret) => inner(JSON.stringify(secret))],
    ['JSON within JSON', (secret) => inner(JSON.stringify(inner(JSON.stringify(secret))))],
    ['a URL', encodeURIComponent],
    ['a form', (secret) => new URLSearchParams({ '': secret }).toString().slice(1)],
    ["Python's quotes", (secret) => secret.replaceAll('\\', '\\\\').replaceAll("'", "\\'")],
    ["a shell's quotes", (secret) => secret.replaceAll("'", "'\\''")],
    ['base64', (secret) => Buffer.from(secret).toString('base64')],
    ['base64url', (secret) => Buffer.from(secret).toString('base64url')],
  ];
  test.each(FORMS)('finds a secret in %s, whatever characters it contains', (_, write) => {
    fc.assert(
      fc.property(text, (secret) => {
        const masked = createMask([secret])?.text(`<${write(secret)}>`) ?? '';
        expect(masked).toContain('***');
        expect(masked.length).toBeLessThanOrEqual('<***>'.length);
      }),
    );
  });

  test('finds a secret within a base64 text, except for 2 characters at each end', () => {
    fc.assert(
      fc.property(text, fc.string({ maxLength: 5 }), (secret, before) => {
        const written = Buffer.from(`${before}${secret} and more`).toString('base64');
        const masked = createMask([secret])?.text(written) ?? '';
        expect(masked).toContain('***');
        const gone = written.length - (masked.length - '***'.length);
        expect(gone).toBeGreaterThanOrEqual(Math.floor((Buffer.byteLength(secret) * 8) / 6) - 4);
      }),
    );
  });

  test('finds a secret of any length in base64 wrapped as programs do it, except for 5 characters at the end', () => {
    const long = fc.string({ unit: 'grapheme', minLength: 20, maxLength: 400 });
    fc.assert(
      fc.property(long, fc.constantFrom(60, 64, 76), fc.constantFrom('', '\n'), (secret, columns, end) => {
        const encoded = Buffer.from(secret + end).toString('base64');
        const mask = createMask([secret]);
        const lines = encoded.match(new RegExp(`.{1,${columns}}`, 'g')) ?? [];
        const seen = lines.map((line) => mask?.text(line) ?? line).join('');
        expect(seen.replaceAll('***', '').length).toBeLessThanOrEqual(5);
      }),
    );
  });

  test('masks the beginning of a secret at the end of a text that was cut off', () => {
    const mask = createMask(['open-sesame-4711']);
    expect(mask?.cutText('the password is open-ses')).toBe('the password is ***');
    expect(mask?.text('the password is open-ses')).toBe('the password is open-ses');
  });

  test('is not slowed down by secrets made for that', () => {
    const secrets = Array.from({ length: 100 }, (_, n) => `${'a'.repeat(200 + n)}b`);
    const mask = createMask([...secrets, 'a'.repeat(30_000)]);
    const tookMs = cpuMs(() => mask?.piece('a'.repeat(64 * 1024), undefined, true));
    expect(tookMs).toBeLessThan(1_000); // 70 ms on two cores
  });

  test('does not change lines without a secret', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll('\n', ' '))), (texts) => {
        const lines = texts.filter((text) => text !== '' && !text.includes('hunter2'));
        expect(linesOf(lines.map((line) => `${line}\n`).join(''), ['hunter2'])).toEqual(lines);
      }),
    );
  });
});
