/**
 * The interface of a part. main.ts starts each part by the same steps and knows nothing else about
 * it.
 */
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
   * Prepares the start: writes files and removes the leftovers of a killed predecessor. Called
   * before each start.
   */
  prepare(state: State): Promise<Launch>;
  /** Resolves when the part serves a real request; throws if it does not (yet). */
  probe(state: State): Promise<void>;
  /**
   * Runs after the first answer, and may return a sentence to print. Called each time, so it must
   * be repeatable.
   */
  finish?(state: State): Promise<string | undefined>;
  /** Removes what is left after `down` has ended the process. */
  cleanUp?(state: State): Promise<void>;
  setting(state: State): [name: string, value: string];
}
