/**
 * A fault in an input, for the user who wrote it: where it is, and a sentence that says what would
 * be right.
 */
export interface Problem {
  /** The path from the fields of the input on. Indices of lists are text. */
  path: string[];
  message: string;
}

export type Parsed<T> = { value: T; problems?: undefined } | { value?: undefined; problems: Problem[] };

/** Puts the paths of `problems` below `path`. */
export function below(path: string[], problems: Problem[]): Problem[] {
  return problems.map((problem) => ({ ...problem, path: [...path, ...problem.path] }));
}
