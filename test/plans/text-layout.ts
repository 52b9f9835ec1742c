const WIDTH_MAX = 100;

/** A statement for human readers. SQL text keeps its own lines. */
export function layOut(text: string): string {
  const lines = /^[a-z]/.test(text) ? linesOfBuilder(text) : linesByHand(text);
  return lines.flatMap(wrap).join('\n');
}

/** The query builder writes a single line in lower case. */
function linesOfBuilder(text: string): string[] {
  const clause =
    / (?=(?:from|where|inner join|left join|cross join lateral|order by|limit|returning|values|set|on conflict|for update|for no key update) )/;
  return text.split(clause);
}

/** Removes the common indentation of all lines but the first. */
function linesByHand(text: string): string[] {
  const lines = text.trim().split('\n');
  const indents = lines.slice(1).map((line) => (/\S/.test(line) ? line.search(/\S/) : Number.POSITIVE_INFINITY));
  const indent = Math.min(...indents);
  const [first = '', ...rest] = lines;
  return [first, ...rest.map((line) => line.slice(indent === Number.POSITIVE_INFINITY ? 0 : indent).trimEnd())].filter(
    (line) => line !== '',
  );
}

/** Wraps a line behind a comma, or else before a word that joins conditions. */
function wrap(line: string): string[] {
  const margin = `${' '.repeat(line.search(/\S/))}  `;
  const lines: string[] = [];
  let rest = line;
  while (rest.length > WIDTH_MAX && !rest.includes('--')) {
    const head = rest.slice(0, WIDTH_MAX);
    const at = Math.max(head.lastIndexOf(', ') + 1, head.lastIndexOf(' and '), head.lastIndexOf(' AND '));
    if (at <= margin.length) break;
    lines.push(rest.slice(0, at));
    rest = margin + rest.slice(at + 1);
  }
  return [...lines, rest];
}
