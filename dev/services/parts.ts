/** What a part is: main.ts brings each one up by the same steps, and knows nothing else of it. */
import type { Launch } from './process.ts';
import type { PartName, State } from './state.ts';

/** A command that a part needs, and the Debian package that brings it. */
export interface Needed {
  command: string;
  debianPackage: string;
}

export interface Part {
  name: PartName;
  title: string;
  needs: Needed[];
  /**
   * Everything before the process: files, leftovers of a killed predecessor. Called before each
   * start.
   */
  prepare(state: State): Promise<Launch>;
  /** Resolves when the part serves a real request; throws when it does not (yet). */
  probe(state: State): Promise<void>;
  /**
   * What follows the first answer; may return a sentence to print. Called each time, so it must be
   * repeatable.
   */
  finish?(state: State): Promise<string | undefined>;
  /** What `down` removes once the process has ended. */
  cleanUp?(state: State): Promise<void>;
  setting(state: State): [name: string, value: string];
}
