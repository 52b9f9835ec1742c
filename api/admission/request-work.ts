import type { ServerResponse } from 'node:http';
import { failure } from '../errors.ts';

/**
 * Tracks the work of a request and what it holds: places, bytes, a turn. A client that leaves ends
 * its request, but not the work under way, and what that holds is released when it ends. Otherwise
 * a client that sends and leaves could have any number of them.
 */
export class RequestWork {
  readonly #response: ServerResponse;
  #releases: (() => void)[] = [];
  #underWay = 0;

  constructor(response: ServerResponse) {
    this.#response = response;
    response.once('close', () => this.#settle());
  }

  /** Whether the client has left. */
  get isAbandoned(): boolean {
    return this.#response.destroyed; // no event reports a client that left before
  }

  /**
   * Calls `release` when the response is closed and nothing is under way, or at once if that is so
   * already.
   */
  takes(release: () => void): void {
    this.#releases.push(release);
    this.#settle();
  }

  /** Runs a part of the work. Rejects without running it if the client has left. */
  async run<T>(part: () => T | Promise<T>): Promise<T> {
    if (this.isAbandoned) throw abandoned();
    this.#underWay += 1;
    try {
      return await part();
    } finally {
      this.#underWay -= 1;
      this.#settle();
    }
  }

  #settle(): void {
    if (this.#underWay > 0 || !this.isAbandoned) return;
    const releases = this.#releases;
    this.#releases = [];
    for (const release of releases) release();
  }
}

export function abandoned(): Error {
  return failure('UNAVAILABLE', 'The client left before its request began.');
}
