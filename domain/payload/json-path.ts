/** A step into a JSON value: to a member, to an item, or to all of either. */
type Step = { name: string } | { index: number } | { all: true };

export type JsonPath = readonly Step[];

const STEPS_MAX = 32;

const STEP =
  /\.(?<bare>[\p{L}_][\p{L}\p{N}_-]*)|\[(?<index>-?\d{1,9})\]|\[(?<quote>['"])(?<quoted>(?:\\.|(?!\k<quote>)[^\\])*)\k<quote>\]|(?<all>\.\*|\[\*\])/uy;

/**
 * Reads a JSON path: `$`, then members (`.name`, `['a name']`), items (`[0]`, `[-1]`) and wildcards
 * (`[*]`, `.*`). It is the part of RFC 9535 whose cost grows only with the document: filters and
 * descendants can make any document take minutes. Undefined for anything else.
 */
export function parseJsonPath(text: string): JsonPath | undefined {
  if (!text.startsWith('$')) return undefined;
  const steps: Step[] = [];
  STEP.lastIndex = 1;
  while (STEP.lastIndex < text.length) {
    const groups = STEP.exec(text)?.groups;
    if (groups === undefined || steps.length === STEPS_MAX) return undefined;
    const { bare, quoted, index } = groups;
    const name = bare ?? quoted?.replace(/\\(.)/gu, '$1');
    if (name !== undefined) steps.push({ name });
    else steps.push(index === undefined ? { all: true } : { index: Number(index) });
  }
  return steps;
}

/** The values that `path` leads to within `document`. */
export function valuesAt(document: unknown, path: JsonPath): unknown[] {
  return path.reduce<unknown[]>((values, step) => values.flatMap((value) => stepInto(value, step)), [document]);
}

function stepInto(value: unknown, step: Step): unknown[] {
  if (typeof value !== 'object' || value === null) return [];
  if ('all' in step) return Object.values(value);
  if ('index' in step) {
    if (!Array.isArray(value)) return [];
    const at = step.index < 0 ? value.length + step.index : step.index;
    return at >= 0 && at < value.length ? [value[at]] : [];
  }
  if (Array.isArray(value)) return [];
  const member = Object.entries(value).find(([name]) => name === step.name);
  return member === undefined ? [] : [member[1]];
}
