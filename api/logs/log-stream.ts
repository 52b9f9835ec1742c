import { CancellableIterator } from '../../platform/async/iterator.ts';
import type { Semaphore } from '../../platform/async/semaphore.ts';
import type { Frame, Sink } from '../live/frame.ts';
import type { Batch } from './batch.ts';
import type { LogEvents } from './events.ts';
import type { Departure, Member, Render, Tail } from './tail.ts';
import type { Lead, Tails } from './tails.ts';

interface Parts {
  tails: Tails;
  /** Streams with the same key have the same frames. */
  key: string;
  render: Render;
  /** Limits how many frames of a socket are made and sent at a time, outside of tails. */
  semaphore: Semaphore;
}

type Taken = IteratorResult<Batch, void>;

/**
 * The frames of one subscription to a log. It reads by itself until it has all lines so far, then
 * joins the tail that serves its place, or begins one: meanwhile `next` waits, and the tail sends
 * to the sink. Whenever a tail dismisses it, it reads at least one batch by itself from its own
 * place. Without a sink it joins none.
 */
export class LogStream extends CancellableIterator<Frame> {
  readonly #log: LogEvents;
  readonly #parts: Parts;
  /** The number of the next line that the client lacks, outside of a tail. */
  #next: number;
  #sink: Sink | undefined;
  #alone: AsyncGenerator<Batch, void, undefined> | undefined;
  /** If it is the first of those who ask the same. */
  #lead: Lead | undefined;
  #onIdle: (() => void) | undefined;
  #tail: { left: Promise<Departure>; leave(): void } | undefined;
  #hasWaited = false;
  /** A tail has dismissed it. The tail may still serve its place, and fail at the same lines. */
  #isDismissed = false;
  #hasPlace = false;
  #isEnded = false;

  constructor(log: LogEvents, parts: Parts) {
    super();
    this.#log = log;
    this.#parts = parts;
    this.#next = log.next;
  }

  /** Lets tails send to `sink` while `next` waits. */
  attach(sink: Sink): void {
    this.#sink = sink;
  }

  async next(): Promise<IteratorResult<Frame, void>> {
    for (;;) {
      this.#release(); // the consumer is done with the last frame
      if (this.#isEnded) return DONE;
      await this.#untilLed();
      if (this.#isEnded) return DONE;
      const tail = this.#findTail();
      if (tail) this.#join(tail);
      const taken = this.#tail ? undefined : await this.#take();
      if (this.#tail) {
        const how = await this.#tail.left;
        this.#tail = undefined;
        if (how === 'DONE') return DONE;
        this.#isDismissed = true;
        continue;
      }
      if (!taken || taken.done || this.#isEnded) return DONE;
      await this.#parts.semaphore.acquire();
      this.#hasPlace = true;
      if (this.#isEnded) continue;
      this.#lead?.add(taken.value);
      const frame = await this.#parts.render(taken.value);
      this.#next = taken.value.lastNumber + 1;
      this.#isDismissed = false;
      if (frame) return { done: false, value: frame };
    }
  }

  async return(): Promise<IteratorResult<Frame, void>> {
    this.#isEnded = true;
    this.#release();
    this.#sink = undefined;
    this.#lead?.end();
    this.#onIdle = undefined;
    this.#tail?.leave();
    await this.#leaveAlone();
    return DONE;
  }

  /**
   * Waits, once, for another subscriber that comes back to the log and reads what this one lacks.
   * If there is none, this is the one.
   */
  async #untilLed(): Promise<void> {
    const { tails, key } = this.#parts;
    if (!this.#sink || this.#alone || this.#findTail()) return;
    const lead = tails.leadOf(key);
    if (!lead) this.#lead = tails.lead(key);
    else if (!this.#hasWaited && this.#next > 1) {
      this.#hasWaited = true;
      await lead.over;
    }
  }

  /** Reads the next batch by itself, or joins a tail when there is none for now. */
  async #take(): Promise<Taken | undefined> {
    this.#alone ??= this.#log.from(this.#next, () => this.#onIdle?.());
    let isIdle = false;
    this.#onIdle = () => {
      isIdle = true;
    };
    const pending = this.#alone.next(); // may be idle at once
    pending.catch(() => undefined); // nobody waits for it once this has joined a tail
    if (isIdle && this.#joinWith(pending)) return undefined;
    return new Promise<Taken | undefined>((resolve, reject) => {
      // In the same turn as the last look for lines, so that none comes in between.
      this.#onIdle = () => {
        if (this.#joinWith(pending)) resolve(undefined);
      };
      pending.then(resolve, reject);
    }).finally(() => {
      this.#onIdle = undefined;
    });
  }

  /** Joins the tail that serves its place. If there is none, its own reading becomes one. */
  #joinWith(pending: Promise<Taken>): boolean {
    const { tails, key, render } = this.#parts;
    if (!this.#sink || this.#tail || this.#isDismissed) return false;
    const known = this.#findTail();
    if (known) this.#join(known);
    else if (this.#alone) {
      const source = this.#alone;
      this.#alone = undefined;
      const recent = this.#lead?.recent;
      this.#join(tails.begin(key, source, { pending, next: this.#next, recent, render }));
    }
    return true;
  }

  #findTail(): Tail | undefined {
    const { tails, key } = this.#parts;
    return this.#sink && !this.#isDismissed ? tails.find(key, this.#next) : undefined;
  }

  #join(tail: Tail): void {
    const sink = this.#sink;
    if (!sink) return;
    const stream = this;
    let settle: (how: Departure) => void = () => undefined;
    const left = new Promise<Departure>((resolve) => {
      settle = resolve;
    });
    const member: Member = {
      sink,
      next: this.#next,
      depart(how) {
        stream.#next = member.next;
        settle(how);
      },
    };
    const leave = () => {
      settle('DONE');
      tail.leave(member);
    };
    this.#tail = { left, leave };
    void this.#leaveAlone();
    tail.join(member, this.#lead?.recent);
    this.#lead?.end(); // others find the tail now
    this.#lead = undefined;
  }

  async #leaveAlone(): Promise<void> {
    const alone = this.#alone;
    this.#alone = undefined;
    await alone?.return();
  }

  #release(): void {
    if (this.#hasPlace) this.#parts.semaphore.release();
    this.#hasPlace = false;
  }
}

const DONE: IteratorReturnResult<void> = { done: true, value: undefined };
