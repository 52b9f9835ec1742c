import { imageProblem } from './image-reference.ts';

export interface CheckedDockerfile {
  /** The images that it begins from or copies from, each once. */
  images: string[];
  /** Sentences. What the engine itself refuses is left to it: it says where, in the build's log. */
  problems: string[];
}

/**
 * What a Dockerfile takes from outside its build. The engine would do more than a person may: FROM resolves a short id to any image on the
 * engine, whoever's it is, and ADD of a URL is fetched by the engine itself, from the engine's network and past the container's. So images
 * are named literally (a variable could become an id), and what is fetched is fetched by RUN.
 */
export function checkDockerfile(text: string): CheckedDockerfile {
  const images = new Set<string>();
  const problems = new Set<string>();
  const stages = new Set<string>();
  let stageCount = 0;

  function take(reference: string): void {
    if (/[$"'\\]/.test(reference)) {
      problems.add(
        `The Dockerfile must name its images literally, without variables or quotes, not ${shown(reference)}.`,
      );
      return;
    }
    const problem = imageProblem(reference);
    if (problem) problems.add(`The image ${shown(reference)} of the Dockerfile ${problem}.`);
    else images.add(reference);
  }

  for (const problem of parserProblems(text)) problems.add(problem);
  const instructions = instructionsOf(text);
  if (!instructions.some(({ name }) => name === 'FROM'))
    problems.add('The Dockerfile must begin from an image, with a line like "FROM alpine:3".');
  for (const { name, words } of instructions) {
    const flags = words.filter((word) => word.startsWith('--'));
    const rest = words.filter((word) => !word.startsWith('--'));
    if (name === 'FROM') {
      const [base = '', as, stage] = rest;
      if (base.toLowerCase() !== 'scratch' && !stages.has(base.toLowerCase())) take(base);
      if (as?.toUpperCase() === 'AS' && stage) stages.add(stage.toLowerCase());
      stageCount += 1;
    }
    if (name !== 'COPY' && name !== 'ADD') continue;
    if (name === 'ADD' && rest.some((word) => /[$\\]|:\/\//.test(word.replaceAll(/["'`]/g, ''))))
      problems.add('ADD must not fetch a URL, nor have variables in it: use COPY for files, and RUN to fetch.');
    for (const flag of flags) {
      if (/[\\"'`]/.test(flag)) problems.add(`The flag ${shown(flag)} must be without quotes and escapes.`);
      const from = /^--from=(.*)$/i.exec(flag)?.[1];
      if (from === undefined || stages.has(from.toLowerCase())) continue;
      if (!(/^\d+$/.test(from) && Number(from) < stageCount)) take(from);
    }
  }
  return { images: [...images], problems: [...problems] };
}

/**
 * The text with a LABEL behind each FROM, so that every layer that its steps make carries `labels`; and which line of the text was the given
 * one, for what the engine says of it. Text that engines read in different ways is read as by the newer ones.
 */
export function labelStages(
  text: string,
  labels: Record<string, string>,
): { text: string; originalLine(line: number): number } {
  const instruction = `LABEL ${Object.entries(labels)
    .map(([name, value]) => `${name}=${JSON.stringify(value)}`)
    .join(' ')}`;
  const behind = new Set(
    read(linesOf(text), continuedIn(text), /^\s*#/)
      .filter(({ name }) => name === 'FROM')
      .map(({ lastLine }) => lastLine),
  );
  const labelled = text.split('\n').flatMap((line, index) => (behind.has(index + 1) ? [line, instruction] : [line]));
  return {
    text: labelled.join('\n'),
    originalLine: (line) => line - labelled.slice(0, line).filter((found) => found === instruction).length,
  };
}

interface Instruction {
  name: string;
  words: string[];
  /** Counted from 1. */
  lastLine: number;
}

/**
 * By the rules of the engine's parser, where engines differ by all of them: older ones take an indented comment between continued lines for
 * text, so that what follows it may be an instruction or not. ONBUILD is looked through.
 */
function instructionsOf(text: string): Instruction[] {
  const lines = linesOf(text);
  const continued = continuedIn(text);
  const asComments = read(lines, continued, /^\s*#/);
  return lines.some((line) => /^\s+#/.test(line)) ? [...asComments, ...read(lines, continued, /^#/)] : asComments;
}

function linesOf(text: string): string[] {
  return text
    .replace(/^\uFEFF/, '')
    .replaceAll('\u0085', ' ') // the engine's white space, and not JavaScript's
    .split(/\r?\n/);
}

/** What the end of a line looks like that goes on in the next one. */
function continuedIn(text: string): RegExp {
  return ESCAPE.exec(linesOf(text)[0] ?? '')?.[1] === '`' ? /`[ \t]*$/ : /\\[ \t]*$/;
}

/** `comment` is what one looks like between continued lines. */
function read(lines: string[], continued: RegExp, comment: RegExp): Instruction[] {
  const instructions: Instruction[] = [];
  let whole: string | undefined;
  let lastLine = 0;

  function end(): void {
    const [first = '', ...rest] = (whole ?? '').trim().split(/\s+/);
    whole = undefined;
    const [name = '', ...words] = first.toUpperCase() === 'ONBUILD' ? rest : [first, ...rest];
    if (name !== '') instructions.push({ name: name.toUpperCase(), words, lastLine });
  }

  for (const [index, line] of lines.entries()) {
    if (line.trim() === '' || (whole === undefined ? /^\s*#/ : comment).test(line)) continue;
    whole = (whole ?? '') + line.replace(continued, '');
    lastLine = index + 1;
    if (!continued.test(line)) end();
  }
  end();
  return instructions;
}

const ESCAPE = /^#\s*escape\s*=\s*([`\\])\s*$/i;

/** What engines read in different ways. */
function* parserProblems(text: string): Generator<string> {
  const lines = text.replace(/^\uFEFF/, '').split('\n');
  if (lines.some((line, index) => /^\s*#\s*escape\s*=/i.test(line) && !(index === 0 && ESCAPE.test(line))))
    yield 'The directive "# escape=" must be the first line, with "\\" or "`" behind it.';
  if (/(^|\s)\d*<<-?["'\w]/.test(text))
    yield 'A here-document needs another builder than the engine has: put its text into a file beside the Dockerfile.';
}

function shown(value: string): string {
  return JSON.stringify(value.slice(0, 100));
}
