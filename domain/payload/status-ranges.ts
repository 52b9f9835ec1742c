const STATUS_MIN = 100;
const STATUS_MAX = 599;

/** What a range of statuses looks like: a class such as 2xx, or two statuses such as 200-299. */
const RANGE = /^(?:([1-5])xx|(\d{3})-(\d{3}))$/i;

/** What is wrong with `text` as a range of statuses, or undefined. */
export function rangeProblem(text: string): string | undefined {
  const range = rangeOf(text);
  if (range === undefined) return 'A range of statuses must be a class like "2xx", or two statuses like "200-299".';
  const [from, to] = range;
  if (from < STATUS_MIN || to > STATUS_MAX || from > to)
    return `A range of statuses must go from a lower to a higher one of ${STATUS_MIN} to ${STATUS_MAX}.`;
  return undefined;
}

/** Whether one of `ranges` holds `status`. */
export function isInRanges(ranges: readonly string[], status: number): boolean {
  return ranges.some((text) => {
    const range = rangeOf(text);
    return range !== undefined && range[0] <= status && status <= range[1];
  });
}

function rangeOf(text: string): [from: number, to: number] | undefined {
  const match = RANGE.exec(text);
  if (match === null) return undefined;
  const [, hundreds, from, to] = match;
  return hundreds === undefined ? [Number(from), Number(to)] : [Number(hundreds) * 100, Number(hundreds) * 100 + 99];
}
