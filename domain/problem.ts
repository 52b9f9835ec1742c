/**
 * What is wrong with an input, for the person who wrote it: where, and a sentence that says what
 * would be right.
 */
export interface Problem {
  /** From the fields of the input on; indices of lists as text. */
  path: string[];
  message: string;
}

export type Parsed<T> = { value: T; problems?: undefined } | { value?: undefined; problems: Problem[] };

/** `problems` as they are named where the input as a whole stands at `path`. */
export function below(path: string[], problems: Problem[]): Problem[] {
  return problems.map((problem) => ({ ...problem, path: [...path, ...problem.path] }));
}
