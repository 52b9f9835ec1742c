import { imageProblem } from '../images/image-reference.ts';
import { IMAGE_VOLUMES_MAX } from '../limits.ts';
import { type Instruction, type InstructionName, instructionsOf } from './instructions.ts';
import { createProblems } from './lines.ts';

/**
 * A Dockerfile that has passed all checks. The engine gets text that is printed from it, never the
 * text that the author gave.
 */
export interface Dockerfile {
  steps: Step[];
  /** The images that it begins from or copies from, each once. */
  images: string[];
}

export interface Step {
  /** The line of the given text where the step begins, counted from 1. */
  line: number;
  name: InstructionName;
  flags: Map<string, string>;
  /** What FROM begins from and COPY --from copies from. */
  source?: Source;
  rest: string;
}

/** An image from outside this file, a stage of this file (its name or number), or nothing. */
export type Source = { kind: 'image' | 'stage'; name: string } | { kind: 'scratch'; name: 'scratch' };

export type ReadDockerfile =
  | { dockerfile: Dockerfile; problems?: undefined }
  | { dockerfile?: undefined; problems: string[] };

/**
 * Reads and checks a Dockerfile. The engine would do more than a user may. FROM resolves a short id
 * to any image on the engine, even another user's. The engine itself fetches the URL of an ADD,
 * from the engine's network and past the container's. So this file knows or refuses every
 * instruction and flag, images are named literally, and only RUN fetches.
 */
export function readDockerfile(text: string): ReadDockerfile {
  const problems = createProblems();
  const steps = judge(instructionsOf(text, problems), problems.report);
  if (problems.texts.length > 0) return { problems: problems.texts };
  if (!steps.some(({ name }) => name === 'FROM'))
    return { problems: ['The Dockerfile must begin from an image, with a line like "FROM alpine:3".'] };
  const images = steps.flatMap(({ source }) => (source?.kind === 'image' ? [source.name] : []));
  return { dockerfile: { steps, images: [...new Set(images)] } };
}

/** The images that a Dockerfile names, each once. A refused Dockerfile gives none. */
export function imagesOf(text: string): string[] {
  return readDockerfile(text).dockerfile?.images ?? [];
}

/**
 * What is wrong with the ONBUILD instructions of a base image. The engine runs them as they are. So
 * each must be a line that can be read in only one way, and uses neither images nor URLs.
 */
export function triggersProblem(triggers: string[]): string | undefined {
  const isHarmless = (trigger: string) => {
    const { dockerfile } = /[\n\r]/.test(trigger) ? {} : readDockerfile(`FROM scratch\n${trigger}`);
    return dockerfile?.images.length === 0 && dockerfile.steps.length === 2 && dockerfile.steps[1]?.name !== 'FROM';
  };
  const refused = triggers.find((trigger) => !isHarmless(trigger));
  return refused === undefined
    ? undefined
    : `has an ONBUILD instruction that is not allowed: ${JSON.stringify(refused.slice(0, 100))}`;
}

function judge(instructions: Instruction[], report: (line: number, problem: string) => void): Step[] {
  const stages: (string | undefined)[] = [];
  const names = new Set(instructions.map(stageName));

  function sourceOf(line: number, word: string, earlier: (string | undefined)[]): Source {
    const lower = /^[!-~]+$/.test(word) ? word.toLowerCase() : word;
    if (earlier.includes(lower)) return { kind: 'stage', name: lower };
    const reserved = names.has(lower) ? 'is this stage or a later one' : lower === 'scratch' && 'has no files';
    const problem = reserved || imageProblem(word);
    if (problem) report(line, `names ${JSON.stringify(word.slice(0, 100))}, which ${problem}.`);
    return { kind: 'image', name: word };
  }

  function from(instruction: Instruction): Step {
    const { line, flags, words } = instruction;
    const [base = '', as, stage] = words;
    const named = stageName(instruction);
    if (words.length !== 1 && !(words.length === 3 && /^as$/i.test(as ?? '')))
      report(line, 'must be like "FROM alpine:3" or "FROM alpine:3 AS name".');
    else if (stage !== undefined && named === undefined)
      report(
        line,
        `names a stage ${JSON.stringify(stage.slice(0, 100))}: a letter, and letters, digits, "_", "." or "-" are right.`,
      );
    else if (named !== undefined && stages.includes(named)) report(line, `names a stage "${named}" for a second time.`);
    const source: Source = base === 'scratch' ? { kind: 'scratch', name: base } : sourceOf(line, base, stages);
    stages.push(named);
    return { line, name: 'FROM', flags, source, rest: named === undefined ? '' : `AS ${named}` };
  }

  function copy({ line, name, flags, rest, words }: Instruction): Step {
    if (words.length < 2) report(line, `needs a source and a destination behind ${name}.`);
    const { from: word, ...others } = Object.fromEntries(flags);
    const step: Step = { line, name, flags: new Map(Object.entries(others)), rest };
    if (word === undefined) return step;
    const earlier = stages.slice(0, -1);
    if (!/^\d+$/.test(word)) return { ...step, source: sourceOf(line, word, earlier) };
    if (Number(word) >= earlier.length)
      report(line, `copies from the stage ${word.slice(0, 20)}, and there is none of that number before.`);
    return { ...step, source: { kind: 'stage', name: String(Number(word)) } };
  }

  let volumes = 0;
  return instructions.map((instruction): Step => {
    const { line, name, flags, rest, words } = instruction;
    if (name === 'VOLUME') volumes += words.length;
    if (name === 'VOLUME' && volumes > IMAGE_VOLUMES_MAX)
      report(line, `must not be: there may be at most ${IMAGE_VOLUMES_MAX} volumes in all.`);
    if (name === 'FROM') return from(instruction);
    if (stages.length === 0 && name !== 'ARG')
      report(line, `has ${name} before the first FROM, where only ARG may be.`);
    if (name === 'ADD') for (const word of words.slice(0, -1)) refuseRemote(line, word, report);
    return name === 'COPY' || name === 'ADD' ? copy(instruction) : { line, name, flags, rest };
  });
}

/** The name of the stage, or undefined when FROM gives no valid one. */
function stageName({ name, words }: Instruction): string | undefined {
  const [, , stage = ''] = words;
  const isName = name === 'FROM' && STAGE.test(stage) && stage.toLowerCase() !== 'scratch' && !ID.test(stage);
  return isName ? stage.toLowerCase() : undefined;
}

const STAGE = /^[A-Za-z][A-Za-z0-9_.-]*$/;
/** An image id. In the printed form ids stand for images, so no stage may have such a name. */
const ID = /^[a-f0-9]{64}$/i;

function refuseRemote(line: number, source: string, report: (line: number, problem: string) => void): void {
  if (source.includes(':') || /^(?:git@|(?:www\.)?github\.com\/)/i.test(source))
    report(line, 'must not fetch with ADD: fetch in a RUN, like "RUN wget https://example.com/file".');
  else if (/[$"'`\\]/.test(source)) report(line, 'must name the files of ADD literally, without variables and quotes.');
}
