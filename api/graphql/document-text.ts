import { Lexer, Source, TokenKind } from 'graphql';

/**
 * Why a document is not parsed, or undefined. The parser and the rules of validation call
 * themselves for each level of brackets, so a deep document would overflow the stack in one of
 * them.
 */
export function documentProblem(text: string, { length, tokens }: { length: number; tokens: number }) {
  if (text.length > length)
    return `A document may have ${length} characters, and this one has ${text.length}: send values as variables.`;
  const lexer = new Lexer(new Source(text));
  let count = 0;
  let depth = 0;
  try {
    while (lexer.advance().kind !== TokenKind.EOF) {
      count += 1;
      if (count > tokens) return `A document may have ${tokens} tokens: send values as variables.`;
      depth += DEPTH_CHANGES.get(lexer.token.kind) ?? 0;
      if (depth > BRACKETS_DEPTH_MAX)
        return `A document may nest brackets ${BRACKETS_DEPTH_MAX} levels deep: send values as variables.`;
    }
  } catch {
    return undefined; // no token begins here: the parser says where
  }
  return undefined;
}

const DEPTH_CHANGES = new Map<string, 1 | -1>([
  [TokenKind.BRACE_L, 1],
  [TokenKind.BRACKET_L, 1],
  [TokenKind.PAREN_L, 1],
  [TokenKind.BRACE_R, -1],
  [TokenKind.BRACKET_R, -1],
  [TokenKind.PAREN_R, -1],
]);
/** As deep as JSON may be (api/graphql/json-size.ts). */
export const BRACKETS_DEPTH_MAX = 100;
