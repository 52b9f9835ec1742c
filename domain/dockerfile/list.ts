import { z } from 'zod';
import { textProblem } from '../text.ts';

const strings = z.array(z.string());

/**
 * The strings of a JSON list such as `["a", "b"]`. Shell text that begins with a bracket gives
 * neither a list nor a problem. It is a problem when text follows the list: some engines leave that
 * text out, and others take all of it for shell text.
 */
export function listOf(text: string): { list?: string[]; problem?: string } {
  const end = endOfList(text);
  const value = end === undefined ? undefined : json(text.slice(0, end));
  if (value === undefined) return {};
  const { data } = strings.safeParse(value);
  if (data === undefined || data.length === 0) return { problem: 'must have a list of texts, like ["a", "b"].' };
  if (text.slice(end).trim() !== '') return { problem: 'must have nothing behind its list.' };
  const problem = data.map(textProblem).find((found) => found !== undefined);
  return problem === undefined ? { list: data } : { problem: `${problem}.` };
}

/** Prints the list in ASCII, so that its line contains no other white space. */
export function printedList(list: string[]): string {
  const escaped = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
  return `[${list.map((one) => JSON.stringify(one).replaceAll(/[^ -~]/g, escaped)).join(', ')}]`;
}

/** The position behind the bracket that closes the first one. */
function endOfList(text: string): number | undefined {
  let depth = 0;
  let isQuoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at];
    if (isQuoted && character === '\\') at += 1;
    else if (character === '"') isQuoted = !isQuoted;
    else if (isQuoted) continue;
    else if (character === '[') depth += 1;
    else if (character === ']') {
      depth -= 1;
      if (depth === 0) return at + 1;
    }
  }
  return undefined;
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // shell text
  }
}
