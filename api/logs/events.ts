import type { BuildRow, JobRow } from '../../db/schema.ts';
import type { LogLine } from '../../domain/logs/line.ts';
import { mapped } from '../../platform/async/iterator.ts';
import { type Batch, batchOfStream, type LogBatchShape, wholeBatch } from './batch.ts';
import { type FirstLine, startAfter } from './retention.ts';
import { type Followed, followedOf, followFrom, type Sources } from './stream.ts';

/**
 * What a subscription to a log gives: the batches behind a place. LogStream lets subscribers that
 * have reached the same place share them.
 */
export class LogEvents implements AsyncIterable<LogBatchShape> {
  /** The number of the first line that is given. */
  readonly next: number;
  /** Logs with the same key give the same events. */
  readonly key: string;
  readonly #sources: Sources;
  readonly #followed: Followed;
  readonly #stream: LogLine['stream'] | undefined;

  constructor(sources: Sources, followed: Followed, next: number, stream: LogLine['stream'] | undefined) {
    this.#sources = sources;
    this.#followed = followed;
    this.next = next;
    this.#stream = stream;
    this.key = `${followed.id} ${stream ?? ''}`;
  }

  /** The batches from line `next` on. `onIdle` is called whenever there is none for now. */
  from(next: number, onIdle: () => void): AsyncGenerator<Batch, void, undefined> {
    return followFrom(this.#sources, this.#followed, next - 1, onIdle);
  }

  /** What subscribers see of a batch. Undefined if it has no line of the stream. */
  async eventOf(batch: Batch): Promise<LogBatchShape | undefined> {
    const { id } = this.#followed;
    return this.#stream ? batchOfStream(id, batch, this.#stream) : wholeBatch(id, batch);
  }

  [Symbol.asyncIterator](): AsyncGenerator<LogBatchShape, void, undefined> {
    return mapped(
      this.from(this.next, () => undefined),
      (batch) => this.eventOf(batch),
    );
  }
}

/**
 * The lines of a job or build after `cursor`: the stored ones and those still to come, up to the
 * last line after the job or build has ended. Throws as followLog does.
 */
export async function logEvents(
  { db, changes, logFeed }: Sources,
  row: JobRow | BuildRow,
  { after, stream }: { after: string | undefined; stream?: LogLine['stream'] | null | undefined },
  firstLine: FirstLine,
): Promise<LogEvents> {
  const number = await startAfter(db, row, after, firstLine);
  return new LogEvents({ db, changes, logFeed }, followedOf(row), number + 1, stream ?? undefined);
}
