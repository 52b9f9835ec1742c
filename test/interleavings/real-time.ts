/** The real clock of the machine, even if a test gives the code under test another one. */
const { setTimeout: later, setImmediate: soon } = globalThis;

export const realNowMs = performance.now.bind(performance);

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => later(resolve, ms));
}

/** Resolves when everything that could continue on its own has done so. */
export function turn(): Promise<void> {
  return new Promise((resolve) => soon(resolve));
}
