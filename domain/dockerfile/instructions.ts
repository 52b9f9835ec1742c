import { didYouMean } from '../suggest.ts';
import { type LogicalLine, logicalLines, type Problems } from './lines.ts';
import { listOf, printedList } from './list.ts';
import { labelsProblem, pairsProblem } from './pairs.ts';

export interface Instruction {
  /** The line of the file where the instruction begins, counted from 1. */
  line: number;
  name: InstructionName;
  /** Values by name. */
  flags: Map<string, string>;
  /** What follows the flags, in its printed form. */
  rest: string;
  /** The words of `rest`, for instructions that take words. */
  words: string[];
}

type Form = 'words' | 'words or list' | 'text' | 'pairs' | 'text or list' | 'list' | 'check';

/** All instructions that are allowed. The form alone decides what `rest` means to the engine. */
const FORMS = {
  ADD: 'words or list',
  ARG: 'text',
  CMD: 'text or list',
  COPY: 'words or list',
  ENTRYPOINT: 'text or list',
  ENV: 'pairs',
  EXPOSE: 'words',
  FROM: 'words',
  HEALTHCHECK: 'check',
  LABEL: 'pairs',
  MAINTAINER: 'text',
  RUN: 'text or list',
  SHELL: 'list',
  STOPSIGNAL: 'text',
  USER: 'text',
  VOLUME: 'words or list',
  WORKDIR: 'text',
} as const satisfies Record<string, Form>;

export type InstructionName = keyof typeof FORMS;
const NAMES = Object.keys(FORMS).filter((name): name is InstructionName => name in FORMS);

const OWNER = /^[\w.:${}-]+$/;
const DURATION = /^[\w.]+$/;
/** The flags that the engine's builder has, and the values that they take. */
const FLAGS: Partial<Record<InstructionName, Record<string, RegExp>>> = {
  ADD: { chown: OWNER },
  COPY: { chown: OWNER, from: /^[^$"'\\]+$/ },
  FROM: { platform: /^[\w./-]+$/ },
  HEALTHCHECK: {
    interval: DURATION,
    timeout: DURATION,
    'start-period': DURATION,
    'start-interval': DURATION,
    retries: /^\d{1,6}$/,
  },
};
const INSTEAD: Record<string, string> = {
  chmod: ' Write a RUN with chmod behind it.',
  link: ' It works without.',
  mount: ' Copy with COPY --from, and fetch what else the step needs in the step.',
};

/**
 * The instructions of a Dockerfile in their printed form. It reports what the engine must not get,
 * and what the engine might read in another way.
 */
export function instructionsOf(text: string, problems: Problems): Instruction[] {
  return logicalLines(text, problems).flatMap((line) =>
    problems.isFull() ? [] : (instructionOf(line, problems) ?? []),
  );
}

function instructionOf({ line, text }: LogicalLine, { report }: Problems): Instruction | undefined {
  const [, word = '', behind = ''] = /^([^ \t]*)[ \t]*(.*)$/su.exec(text) ?? [];
  // Checks for ASCII letters first: some other characters become "S" or "K" in upper case.
  const name = /^[A-Za-z]+$/.test(word) ? NAMES.find((known) => known === word.toUpperCase()) : undefined;
  if (name === undefined) {
    report(line, unknown(word));
    return undefined;
  }
  const { flags, rest: given } = flagsOf(name, behind, (problem) => report(line, problem));
  const { rest, words, problem } = argumentsOf(name, given);
  if (problem !== undefined) report(line, problem);
  return { line, name, flags, rest, words };
}

function unknown(word: string): string {
  if (/^onbuild$/i.test(word))
    return 'must not have ONBUILD: nothing is built from this image. Write the instruction itself.';
  const shown = JSON.stringify(word.slice(0, 40));
  return `must begin with an instruction, not with ${shown}.${didYouMean(word.slice(0, 40).toUpperCase(), NAMES)}`;
}

function flagsOf(name: InstructionName, text: string, report: (problem: string) => void) {
  const known = FLAGS[name] ?? {};
  const flags = new Map<string, string>();
  let rest = text;
  while (rest.startsWith('--')) {
    const [whole = '', flag = ''] = /^([^ \t]*)[ \t]*/.exec(rest) ?? [];
    rest = rest.slice(whole.length);
    const [, key = '', value] = /^--([^=]*)(?:=([!-~]*))?$/.exec(flag) ?? [];
    const values = Object.hasOwn(known, key) ? known[key] : undefined;
    const shown = JSON.stringify(flag.slice(0, 100));
    if (values === undefined) {
      const names = Object.keys(known).map((one) => `--${one}`);
      const has = names.length === 0 ? 'no flags' : `the flags ${names.join(', ')}`;
      report(`must not have the flag ${shown}: ${name} has ${has} here.${INSTEAD[key] ?? ''}`);
    } else if (value === undefined || !values.test(value)) {
      report(
        `has ${shown}, which is not right: --${key} must have a literal value, like "--${key}=value", without quotes.`,
      );
    } else if (flags.has(key)) {
      report(`must have --${key} once, not twice.`);
    } else {
      flags.set(key, value);
    }
  }
  return { flags, rest };
}

interface Arguments {
  rest: string;
  words: string[];
  problem?: string;
}

function argumentsOf(name: InstructionName, text: string): Arguments {
  const form: Form = FORMS[name];
  if (text === '') return wrong(`needs something behind ${name}.`);
  if (form === 'check') return checkOf(text);
  if (form === 'text') return { rest: text, words: [] };
  if (form === 'pairs') {
    const problem = pairsProblem(name, text) ?? (name === 'LABEL' ? labelsProblem(text) : undefined);
    return problem === undefined ? { rest: text, words: [] } : wrong(problem);
  }
  if (form !== 'words' && text.startsWith('[')) {
    const { list, problem } = listOf(text);
    if (problem !== undefined) return wrong(problem);
    if (list !== undefined) return { rest: printedList(list), words: list };
  }
  if (form === 'list') return wrong(`needs a list behind ${name}, like ["/bin/sh", "-c"].`);
  if (HEREDOC_NAMES.has(name) && HEREDOC.test(text))
    return wrong(
      'must not have a here-document ("<<"): put its text into a file beside the Dockerfile, or print it with printf.',
    );
  if (form === 'text or list') return { rest: text, words: [] };
  const words = text.split(/[ \t]+/);
  const rest = words.join(' ');
  // With blanks in the place of tabs it would be a list, which it is not as given.
  const inBlanks = form === 'words or list' && rest.startsWith('[') ? listOf(rest) : {};
  if (inBlanks.list !== undefined || inBlanks.problem !== undefined)
    return wrong('must have no tab within a text of its list: write "\\t".');
  return { rest, words };
}

/**
 * Newer engines look for here-documents in these instructions, and take the lines that follow for
 * the text of the document.
 */
const HEREDOC_NAMES = new Set<InstructionName>(['ADD', 'COPY', 'RUN']);
/** Matches wherever any reading may find a here-document, also within quotes. */
const HEREDOC = /(?:^|[ \t])\d*<<(?!<)/;

function checkOf(text: string): Arguments {
  const [, word = '', rest = ''] = /^([^ \t]*)[ \t]*(.*)$/su.exec(text) ?? [];
  const kind = /^(?:cmd|none)$/i.test(word) ? word.toUpperCase() : undefined;
  if (kind === 'NONE' && rest === '') return { rest: kind, words: [] };
  if (kind !== 'CMD' || rest === '') return wrong('must have NONE behind HEALTHCHECK, or CMD and a command.');
  const command = argumentsOf('CMD', rest);
  return { ...command, rest: `CMD ${command.rest}` };
}

function wrong(problem: string): Arguments {
  return { rest: '', words: [], problem };
}
