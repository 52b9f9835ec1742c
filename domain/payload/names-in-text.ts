/**
 * The names of the object at `key` in a JSON document, in the order of the text. JSON.parse alone
 * puts whole numbers first, so each name gets a mark in front for a second parse. A name that is
 * written twice has the place of the first. `text` must be valid JSON.
 */
export function namesInText(text: string, key: string): string[] {
  const marked = text.replace(STRING, (string, colon) => (colon === undefined ? string : `"${MARK}${string.slice(1)}`));
  const document = new Map<string, unknown>(Object.entries(JSON.parse(marked)));
  const at = document.get(MARK + key);
  return typeof at === 'object' && at !== null ? Object.keys(at).map((name) => name.slice(MARK.length)) : [];
}

const MARK = '=';
/** A string, with the colon that makes it a name. */
const STRING = /"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?/gs;
