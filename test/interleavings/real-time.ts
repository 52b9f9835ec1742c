/** The clock of the machine, also where a test gives the code under test another one. */
const { setTimeout: later, setImmediate: soon } = globalThis;

export const realNowMs = performance.now.bind(performance);

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => later(resolve, ms));
}

/** Resolves when what could go on by itself has gone on. */
export function turn(): Promise<void> {
  return new Promise((resolve) => soon(resolve));
}
