/**
 * Why a text is not parsed as JSON, or undefined. Parsing can take a hundred times the bytes of the
 * text, all at once.
 */
export function jsonProblem(text: string): string | undefined {
  let depth = 0;
  let values = 0;
  for (let at = 0; at < text.length; at += 1) {
    const character = text.charCodeAt(at);
    if (character === QUOTE) {
      at = endOfString(text, at);
      if (at === -1) return undefined; // the parser reports it
    } else if (character === BRACKET || character === BRACE) {
      depth += 1;
      values += 1;
      if (depth > JSON_DEPTH_MAX) return `The JSON may be nested at most ${JSON_DEPTH_MAX} levels deep.`;
    } else if (character === BRACKET_END || character === BRACE_END) depth -= 1;
    else if (character === COMMA) values += 1;
    if (values > JSON_VALUES_MAX) return `The JSON may have at most ${JSON_VALUES_MAX} values.`;
  }
  return undefined;
}

const JSON_DEPTH_MAX = 100;
const JSON_VALUES_MAX = 50_000;

/**
 * The index of the end of the string that begins at `start`, or -1. Long texts are mostly strings,
 * which this skips.
 */
function endOfString(text: string, start: number): number {
  let end = text.indexOf('"', start + 1);
  while (end !== -1 && isEscaped(text, end)) end = text.indexOf('"', end + 1);
  return end;
}

function isEscaped(text: string, at: number): boolean {
  let before = at;
  while (text.charCodeAt(before - 1) === BACKSLASH) before -= 1;
  return (at - before) % 2 === 1;
}

const [QUOTE, BACKSLASH, COMMA] = [0x22, 0x5c, 0x2c];
const [BRACKET, BRACKET_END, BRACE, BRACE_END] = [0x5b, 0x5d, 0x7b, 0x7d];
