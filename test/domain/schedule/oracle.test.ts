import { test } from 'vitest';
import { compare, readClocks } from './compare.ts';

test('occurrences are those that somebody would note who looks at the local clock each minute', () => {
  compare(readClocks(), 15);
});
