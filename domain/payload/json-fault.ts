/** Says where a text ceases to be JSON, without quoting it. The text must not be JSON. */
export function jsonFault(text: string): string {
  if (text.trim() === '') return 'it is empty';
  if (isBeginning(text)) return 'it ends before it is complete';
  let [good, bad] = [0, text.length]; // lengths of beginnings
  while (bad - good > 1) {
    const middle = Math.floor((good + bad) / 2);
    if (isBeginning(text.slice(0, middle))) good = middle;
    else bad = middle;
  }
  const lines = text.slice(0, good).split('\n');
  return `what stands in line ${lines.length}, column ${(lines.at(-1)?.length ?? 0) + 1} cannot stand there`;
}

/** Whether more text could make it JSON: the parser finds no fault but its end. */
function isBeginning(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch (error) {
    const words = error instanceof Error ? error.message : '';
    const position = /at position (\d+)/.exec(words)?.[1];
    return /end of JSON input|Unterminated string/.test(words) || Number(position) === text.length;
  }
}
