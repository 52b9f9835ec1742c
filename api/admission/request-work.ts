import type { ServerResponse } from 'node:http';
import { failure } from '../errors.ts';

/**
 * What a request does, and what it takes for that: places, bytes, a turn. A client that leaves ends its request, and not what was begun for it:
 * that goes on, and what it takes is given back when it has ended. Else a client that sends and leaves would have any number of them at once.
 */
export class RequestWork {
  readonly #response: ServerResponse;
  #releases: (() => void)[] = [];
  #underWay = 0;

  constructor(response: ServerResponse) {
    this.#response = response;
    response.once('close', () => this.#settle());
  }

  /** Whether nobody waits for an answer any more. */
  get isAbandoned(): boolean {
    return this.#response.destroyed; // no event says so of a client that had gone before
  }

  /** Calls `release` when the response is closed and nothing is under way: at once where that is so already. */
  takes(release: () => void): void {
    this.#releases.push(release);
    this.#settle();
  }

  /** Does a part of it. Rejects, and does nothing, where nobody waits for an answer any more. */
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
  return failure('UNAVAILABLE', 'The client has left before its request was begun.');
}
