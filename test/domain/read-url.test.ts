import { expect, test } from 'vitest';
import { readUrl } from '../../domain/network/read-url.ts';

/** So many calls that the engine optimizes the function. */
const CALLS = 20_000;

test.each(['https://bücher.example/ä', 'https://example.com/?q=ß', 'tcp://jörg.example:80'])(
  '%s is a URL however often it is read',
  (text) => {
    const refused = Array.from({ length: CALLS }, () => readUrl(text)).filter((url) => url === undefined);
    expect(refused).toEqual([]);
  },
);

test('what is no URL is undefined, and a base makes one of a reference', () => {
  expect(readUrl('bücher')).toBeUndefined();
  expect(readUrl('/ä', 'https://example.com/x')?.href).toBe('https://example.com/%C3%A4');
});
