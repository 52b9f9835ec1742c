import { byteCount } from '../text.ts';

/** An instruction that is joined into one line. */
export interface LogicalLine {
  /** The line of the file where it begins, counted from 1. */
  line: number;
  text: string;
}

/** Engines read no line of 64 KiB or more. */
export const LINE_BYTES_MAX = 60_000;

/** More problems would not help the author. */
const PROBLEMS_MAX = 20;

/** Sentences, each of which begins with its line. */
export interface Problems {
  texts: string[];
  report(line: number, problem: string): void;
  isFull(): boolean;
}

export function createProblems(): Problems {
  const texts: string[] = [];
  const isFull = () => texts.length >= PROBLEMS_MAX;
  return {
    texts,
    isFull,
    report(line, problem) {
      if (!isFull()) texts.push(`Line ${line} of the Dockerfile ${problem}`);
    },
  };
}

/**
 * The instructions of a Dockerfile, each in one line, without comments and continuations. It
 * reports every place where the parsers of different engines would not agree. They differ in what
 * counts as white space, in escape characters and directives, and in a backslash before another.
 */
export function logicalLines(text: string, { report }: Problems): LogicalLine[] {
  const found: LogicalLine[] = [];
  let open: LogicalLine | undefined;

  for (const [index, given] of text
    .replace(/^\uFEFF/, '')
    .split('\n')
    .entries()) {
    const number = index + 1;
    const line = given.replace(/\r$/, '');
    if (BLANK.test(line)) continue;
    if (COMMENT.test(line)) {
      const problem = found.length === 0 && open === undefined ? directiveProblem(line) : undefined;
      if (problem) report(number, problem);
      continue;
    }
    const odd = ODD.exec(line)?.[0];
    if (odd !== undefined) report(number, `has the character ${codeOf(odd)}: white space must be blanks and tabs.`);
    const bare = line.trimEnd();
    if (bare.endsWith('\\\\'))
      report(number, 'must not end with two backslashes: engines read that in different ways.');
    const goesOn = bare.endsWith('\\');
    open ??= { line: number, text: '' };
    open.text += goesOn ? bare.slice(0, -1) : line;
    if (goesOn) continue;
    found.push(open);
    open = undefined;
  }
  if (open !== undefined) found.push(open);

  for (const one of found) {
    one.text = one.text.trim();
    if (one.text === '') report(one.line, 'has a backslash alone, and no instruction.');
    if (one.text.endsWith('\\')) report(one.line, 'must not end with a backslash, which would go on in the next line.');
    if (byteCount(one.text) > LINE_BYTES_MAX) report(one.line, `must be at most ${LINE_BYTES_MAX} bytes in all.`);
  }
  return found.filter(({ text: whole }) => whole !== '');
}

const BLANK = /^[ \t]*$/;
const COMMENT = /^[ \t]*#/;
/** Control characters, halves of surrogate pairs, and white space outside ASCII. */
const ODD = /(?![ \t])[\p{Cc}\p{Cs}\p{Z}\uFEFF]/u;

/**
 * Checks a comment before the first instruction. If any engine could read it as a directive, the
 * directive must be harmless.
 */
function directiveProblem(comment: string): string | undefined {
  const [, name = '', value = ''] = /^\s*#\s*(escape|syntax)\s*=(.*)$/isu.exec(comment) ?? [];
  if (name.toLowerCase() === 'escape' && value.trim() !== '\\')
    return 'must not choose another escape character: write the file with "\\", and without the directive.';
  if (name.toLowerCase() === 'syntax' && !FRONTEND.test(value.trim()))
    return 'must not choose another syntax: images are built by the Docker engine, without "# syntax=".';
  return undefined;
}

/** The syntax that this parser reads. The printed form does not contain the directive. */
const FRONTEND = /^(?:docker\.io\/)?docker\/dockerfile(?::1(?:\.\d+)*)?$/;

function codeOf(character: string): string {
  return `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`;
}
