import type { Dockerfile, Source, Step } from './dockerfile.ts';

export interface Printed {
  text: string;
  /** The lines of `text`, with images as their author named them. */
  lines: string[];
  /** The line of the given text that a line of `text` comes from. Both are counted from 1. */
  originalLine(line: number): number;
}

/**
 * Prints what the engine gets: one instruction per line, without continuations, comments,
 * directives and here-documents. With `idOf` the engine gets the images that were inspected,
 * whatever their names stand for when it builds. A LABEL follows each FROM, so that every layer of
 * its steps carries `labels`.
 */
export function printDockerfile(
  { steps }: Dockerfile,
  { labels = {}, idOf = (image) => image }: { labels?: Record<string, string>; idOf?: (image: string) => string } = {},
): Printed {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  const label = pairs.length === 0 ? [] : [`LABEL ${pairs.join(' ')}`];
  const rows = steps.flatMap((step) => {
    const sent = printed(step, ({ kind, name }) => (kind === 'image' ? idOf(name) : name));
    const row = { sent, shown: printed(step, ({ name }) => name), line: step.line };
    return step.name === 'FROM' ? [row, ...label.map((text) => ({ sent: text, shown: text, line: step.line }))] : [row];
  });
  return {
    text: rows.map(({ sent }) => `${sent}\n`).join(''),
    lines: rows.map(({ shown }) => shown),
    originalLine: (line) => rows[line - 1]?.line ?? line,
  };
}

function printed({ name, source, flags, rest }: Step, nameOf: (source: Source) => string): string {
  const base = source === undefined ? [] : [name === 'FROM' ? nameOf(source) : `--from=${nameOf(source)}`];
  const others = [...flags].map(([flag, value]) => `--${flag}=${value}`);
  const words = name === 'FROM' ? [...others, ...base] : [...base, ...others];
  return [name, ...words, ...(rest === '' ? [] : [rest])].join(' ');
}
