import type { Db } from '../../db/client.ts';
import { chunksOfLogs, type LogPlace } from '../../db/logs/read.ts';
import type { LogChunk } from '../../domain/logs/chunk.ts';

/** Reads the chunks at a place of a log. None are the end of the log. */
export type ReadChunks = (place: LogPlace) => Promise<LogChunk[]>;

/**
 * The reads of several pages of logs, each of which reads on until it has its lines. When all of
 * them wait, one statement reads for all of them, or for as many as its bounds allow: the others
 * stay until those have done with what they got. So what is held has a bound too.
 */
export class SetOfReads {
  readonly #db: Db;
  readonly #backwards: boolean;
  #pages: number;
  #waiting: Waiting[] = [];

  constructor(db: Db, { pages, backwards }: { pages: number; backwards: boolean }) {
    this.#db = db;
    this.#pages = pages;
    this.#backwards = backwards;
  }

  /** Reads for one of the pages, which waits for the answer before it reads again. */
  read(place: LogPlace): Promise<LogChunk[]> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ place, resolve, reject });
      this.#readIfAllWait();
    });
  }

  /** Ends one of the pages: it reads no more. */
  leave(): void {
    this.#pages -= 1;
    this.#readIfAllWait();
  }

  #readIfAllWait(): void {
    if (this.#waiting.length < this.#pages || this.#pages === 0) return;
    const asked = firstOf(this.#waiting);
    this.#waiting = this.#waiting.slice(asked.length);
    const places = asked.map(({ place }) => place);
    chunksOfLogs(this.#db, places, { backwards: this.#backwards, bytesMax: SET_BYTES_MAX }).then(
      (lists) => {
        this.#waiting.unshift(...asked.slice(lists.length)); // they did not fit
        for (const [n, chunks] of lists.entries()) asked[n]?.resolve(chunks);
      },
      (error: unknown) => {
        for (const { reject } of asked) reject(error);
      },
    );
  }
}

interface Waiting {
  place: LogPlace;
  resolve(chunks: LogChunk[]): void;
  reject(error: unknown): void;
}

/** The packed bytes, and the chunks, that one statement reads for all pages of a set. */
const SET_BYTES_MAX = 4 * 1024 * 1024;
const SET_CHUNKS_MAX = 2_048;

/** As many of these as one statement reads for, at least one. */
function firstOf(waiting: Waiting[]): Waiting[] {
  let chunks = 0;
  const fits = waiting.findIndex(({ place }) => {
    chunks += place.count;
    return chunks > SET_CHUNKS_MAX;
  });
  return fits === -1 ? waiting : waiting.slice(0, Math.max(1, fits));
}
