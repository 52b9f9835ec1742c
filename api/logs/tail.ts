import { setTimeout as delay, setImmediate as turn } from 'node:timers/promises';
import type { Frame, Sink } from '../live/frame.ts';
import { type Batch, cutBatch } from './batch.ts';
import type { Forgettable, KeptBytes } from './kept-bytes.ts';
import { type Made, RecentFrames, RecentLines } from './recent.ts';

/** What the end of a membership is followed by: the end of the log, or the member's own reading. */
export type Departure = 'DONE' | 'ALONE';

/** A subscriber in a tail. */
export interface Member {
  sink: Sink;
  /** The number of the next line that it lacks. */
  next: number;
  /** Called once, unless the member leaves by itself. */
  depart(how: Departure): void;
}

/** Makes the frame of a batch. Undefined if it has nothing to show. */
export type Render = (batch: Batch) => Promise<Frame | undefined>;

/** Where a tail begins: `pending` is the first batch of its source and begins with line `next`. */
export interface Beginning {
  pending: Promise<IteratorResult<Batch, void>>;
  next: number;
  /** The lines before `next`. */
  recent?: RecentLines | undefined;
  render: Render;
}

interface Shared {
  batch: Batch;
  frame: Frame | undefined;
}

/**
 * The live end of one log, for all who see the same of it: a batch is made into a frame once, and
 * the frame goes to every member that lacks its first line. A member has a place of its own, so
 * that nothing depends on when it joins or how fast it is:
 *
 *   it lacks a later line     the frame is passed over
 *   a line within the frame   the frame is cut for it
 *   an earlier line           it leaves, reads what it lacks from the store, and joins again
 *
 * One that joins a little behind is first sent the recent lines that it lacks, in frames that are
 * shared with others who join at the same place: after a restart a thousand do.
 *
 * A member whose connection is full is passed over until it has drained. The tail keeps few frames
 * for those, and goes on as long as one member takes them. An error ends the tail, and each member
 * goes on by itself and meets its own. Everything but rendering, and the turns between members, is
 * synchronous: a member that joins or leaves in between finds one state.
 */
export class Tail implements Forgettable {
  readonly #render: Render;
  readonly #members = new Set<Member>();
  readonly #full = new Set<Member>();
  readonly #source: AsyncGenerator<Batch, void, undefined>;
  readonly #onEnd: () => void;
  /** What members that join lack. */
  readonly #recent: RecentLines;
  readonly #recentFrames = new RecentFrames();
  /** Counts the recent lines, their frames and the kept frames. */
  readonly #keptBytes: KeptBytes;
  #caughtUpAt = performance.now();
  #kept: Shared[] = [];
  #next: number;
  /** How many have joined since the last pass. */
  #joined = 0;
  #isEnded = false;
  #resume: (() => void) | undefined;

  constructor(
    source: AsyncGenerator<Batch, void, undefined>,
    { pending, next, recent, render }: Beginning,
    { keptBytes, onEnd }: { keptBytes: KeptBytes; onEnd: () => void },
  ) {
    this.#source = source;
    this.#next = next;
    this.#recent = recent ?? new RecentLines();
    this.#render = render;
    this.#keptBytes = keptBytes;
    this.#onEnd = onEnd;
    void this.#run(pending);
  }

  /** Whether a member that lacks line `next` is served in time. */
  serves(next: number): boolean {
    if (this.#isEnded) return false;
    const first = Math.min(this.#firstKept, this.#recent.first ?? this.#next);
    return next >= first && next <= this.#next + AHEAD_LINES_MAX;
  }

  /** `recent` is what the member has read before, for others who come after it. */
  join(member: Member, recent?: RecentLines): void {
    this.#members.add(member);
    this.#joined += 1;
    if (recent && recent !== this.#recent) {
      this.#recent.precede(recent, this.#next);
      this.#caughtUpAt = performance.now();
    }
    this.#noteKept();
    if (member.next < this.#firstKept) void this.#catchUp(member);
    else this.#serve(member);
    this.#resume?.();
  }

  /** Members that lack something of this go on by themselves. */
  forget(): void {
    this.#kept = [];
    this.#recent.keep(0);
    this.#recentFrames.forget();
  }

  get #firstKept(): number {
    return this.#kept[0]?.batch.firstNumber ?? this.#next;
  }

  leave(member: Member): void {
    this.#members.delete(member);
    this.#full.delete(member);
    if (this.#members.size === 0) this.#end('ALONE');
    else this.#resume?.();
  }

  async #run(first: Promise<IteratorResult<Batch, void>>): Promise<void> {
    try {
      for (let pending = first; !this.#isEnded; pending = this.#source.next()) {
        const { done, value: batch } = await pending;
        if (done) return this.#end('DONE');
        const frame = await this.#render(batch);
        if (frame?.hasErrors) return this.#end('ALONE');
        if (this.#isEnded) return;
        this.#kept.push({ batch, frame });
        this.#recent.add(batch);
        this.#forgetFrames();
        this.#next = batch.lastNumber + 1;
        this.#noteKept();
        await this.#serveAll();
        this.#drop();
        this.#noteKept();
        await this.#untilTaken();
      }
    } catch {
      this.#end('ALONE'); // each member meets the error itself, and it is logged there
    }
  }

  /**
   * Serves the members in turns, and rests in proportion: lines that come meanwhile are one batch.
   * Few members take little time and get each line soon; ten thousand take most of a tenth of a
   * second, and the rest leaves some of the core to others. It leaves more while subscribers join:
   * after a restart, frames for those who are back would take a third of it from those who are not.
   */
  async #serveAll(): Promise<void> {
    const begun = process.cpuUsage();
    let served = 0;
    for (const member of this.#members) {
      this.#serve(member);
      served += 1;
      if (served % MEMBERS_PER_TURN === 0) await turn();
      if (this.#isEnded) return;
    }
    const { user, system } = process.cpuUsage(begun);
    const tookMs = (user + system) / 1_000;
    const areJoining = this.#joined >= JOINING_MIN;
    this.#joined = 0;
    if (served < RESTING_MEMBERS_MIN) return;
    const restMs = Math.min(REST_MS_MAX, REST_RATIO * tookMs, REST_MS_OF_FEW + tookMs / 2);
    await delay(areJoining ? REST_MS_WHILE_JOINING : restMs);
  }

  #serve(member: Member): void {
    if (this.#full.has(member) || member.next >= this.#next) return;
    if (member.next < this.#firstKept) {
      this.#dismiss(member);
      return;
    }
    let at = this.#kept.length;
    while (at > 0 && (this.#kept[at - 1]?.batch.lastNumber ?? 0) >= member.next) at -= 1;
    for (const { batch, frame } of this.#kept.slice(at)) {
      if (member.sink.isFull) this.#waitFor(member);
      else if (batch.firstNumber < member.next) void this.#sendCut(member, batch);
      else {
        member.next = batch.lastNumber + 1;
        if (frame) member.sink.send(frame);
        continue;
      }
      return;
    }
  }

  #waitFor(member: Member): void {
    this.#full.add(member);
    member.sink.onceDrained(() => this.#takesMore(member));
  }

  #takesMore(member: Member): void {
    if (!this.#full.delete(member)) return; // it has left
    this.#serve(member);
    this.#resume?.();
  }

  /** Sends a member that joins the recent lines that it lacks. Meanwhile it counts as full. */
  async #catchUp(member: Member): Promise<void> {
    this.#full.add(member);
    while (member.next < this.#firstKept) {
      if (!(await this.#untilDrained(member))) return;
      const made = this.#recentFrom(member.next);
      if (!made) return this.#dismiss(member);
      if (!(await this.#sendMade(member, made))) return;
    }
    this.#noteKept();
    this.#takesMore(member);
  }

  /** Sends what a member lacks of a batch. Meanwhile it counts as full. */
  async #sendCut(member: Member, batch: Batch): Promise<void> {
    this.#full.add(member);
    const cut = cutBatch(batch, member.next);
    if (await this.#sendMade(member, { batch: cut, frame: this.#render(cut) })) this.#takesMore(member);
  }

  /** Sends a frame to one member. Resolves with false if the member has left or is dismissed. */
  async #sendMade(member: Member, { batch, frame: making }: Made): Promise<boolean> {
    const frame = await making.catch(() => FAILED);
    // Meanwhile another subscription of its socket may have filled that.
    if (!(await this.#untilDrained(member))) return false;
    if (frame?.hasErrors) {
      this.#dismiss(member);
      return false;
    }
    member.next = batch.lastNumber + 1;
    if (frame) member.sink.send(frame);
    return true;
  }

  /** Resolves with false if the member has left. */
  async #untilDrained(member: Member): Promise<boolean> {
    while (member.sink.isFull && this.#full.has(member))
      await new Promise<void>((resolve) => member.sink.onceDrained(resolve));
    return this.#full.has(member);
  }

  /** The frame of the recent lines from `next` on, for all who join there meanwhile. */
  #recentFrom(next: number): Made | undefined {
    this.#caughtUpAt = performance.now();
    return this.#recentFrames.at(next, () => {
      const batch = this.#recent.from(next);
      return batch && { batch, frame: this.#render(batch) };
    });
  }

  /** Forgets frames of recent lines that ended with the last line so far: now there are more. */
  #forgetFrames(): void {
    this.#recentFrames.forget(({ lastNumber }) => lastNumber + 1 === this.#next || !this.#areComing);
  }

  /** Those who come back after a restart come soon after each other. */
  get #areComing(): boolean {
    return performance.now() - this.#caughtUpAt < COMING_MS;
  }

  /** Keeps what members lack whose connections are full, within bounds, and some for who joins. */
  #drop(): void {
    let first = this.#next;
    for (const { next } of this.#full) first = Math.min(first, next);
    const forJoining = Math.min(this.#members.size, KEPT_FOR_JOINING_MAX);
    let bytes = 0;
    let kept = 0;
    for (const { batch, frame } of [...this.#kept].reverse()) {
      bytes += frame?.json.length ?? 0;
      const isBounded = kept === 0 || (kept < KEPT_MAX && bytes <= KEPT_BYTES_MAX);
      if (!isBounded || (kept >= forJoining && batch.lastNumber < first)) break;
      kept += 1;
    }
    this.#kept.splice(0, this.#kept.length - kept);
    if (!this.#areComing) this.#recent.keep(Math.min(this.#members.size, RECENT_CHUNKS_OF_LATER_MAX));
  }

  #noteKept(): void {
    const bytes = this.#kept.reduce((sum, { frame }) => sum + (frame?.json.length ?? 0), 0);
    this.#keptBytes.note(this, bytes + this.#recent.bytes + this.#recentFrames.bytes);
  }

  /** Waits while nobody takes anything, so that the fastest member sets the pace. */
  async #untilTaken(): Promise<void> {
    while (!this.#isEnded && this.#full.size === this.#members.size)
      await new Promise<void>((resolve) => {
        this.#resume = resolve;
      });
    this.#resume = undefined;
  }

  /** The member goes on by itself. */
  #dismiss(member: Member): void {
    this.#members.delete(member);
    this.#full.delete(member);
    member.depart('ALONE');
    if (this.#members.size === 0) this.#end('ALONE');
  }

  #end(how: Departure): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#onEnd();
    const members = [...this.#members];
    this.#members.clear();
    this.#full.clear();
    this.forget();
    this.#keptBytes.note(this, 0);
    for (const member of members) member.depart(how === 'DONE' && member.next >= this.#next ? 'DONE' : 'ALONE');
    this.#resume?.();
    this.#source.return().catch(() => undefined); // what it failed with ends the tail anyway
  }
}

/** A turn of the event loop with so many members takes about two milliseconds. */
const MEMBERS_PER_TURN = 200;
/** More rest costs latency, less costs a write for each line to each member. */
const REST_RATIO = 2;
const REST_MS_OF_FEW = 20;
const REST_MS_MAX = 100;
/** A pass over fewer members takes less than half a millisecond: then there is no rest. */
const RESTING_MEMBERS_MIN = 50;
/** The rest where at least so many have joined since the pass before. */
const REST_MS_WHILE_JOINING = 60;
const JOINING_MIN = 5;
/** Frames that are kept for members that are behind. */
const KEPT_MAX = 64;
const KEPT_BYTES_MAX = 1024 * 1024;
/** Frames that are kept for subscribers that are about to join: not more than there are members. */
const KEPT_FOR_JOINING_MAX = 16;
/**
 * For so long after it begins, or after somebody has caught up, a tail keeps as many recent lines
 * as it can. Then it keeps fewer, and fewer still if it has few members.
 */
const COMING_MS = 10_000;
const RECENT_CHUNKS_OF_LATER_MAX = 1_024;
const FAILED: Frame = { json: Buffer.alloc(0), hasErrors: true };
/** A tail that is further behind than this goes at the pace of a slow member. */
const AHEAD_LINES_MAX = 2_000;
