import { setTimeout as delay } from 'node:timers/promises';
import { encodeChunks } from '../../../domain/logs/chunk.ts';
import { formatLine } from '../../../domain/logs/encode.ts';
import { packLines } from '../../../domain/logs/packing.ts';
import type { Bus, BusMessage } from '../../../platform/bus/bus.ts';
import { now } from '../time.ts';

/** Prints lines as a worker does: a chunk each, on the bus. */
export class Printer {
  readonly #bus: Bus;
  readonly #ids: string[];
  readonly #numbers = new Map<string, number>();
  #stop: AbortController | undefined;
  #printing: Promise<void> | undefined;

  constructor(bus: Bus, ids: string[]) {
    this.#bus = bus;
    this.#ids = ids;
  }

  /** The number of the last line of a job. */
  last(id: string): number {
    return this.#numbers.get(id) ?? 0;
  }

  /** Prints a line of each of these jobs. */
  async print(ids: string[]): Promise<void> {
    await this.#bus.publish('job_logs', await Promise.all(ids.map((id) => this.#line(id))));
  }

  /** Prints `perSecond` lines a second in all, of one job after the other, until `stop`. */
  start(perSecond: number): void {
    const stop = new AbortController();
    this.#stop = stop;
    this.#printing = (async () => {
      const begun = performance.now();
      for (let printed = 0; !stop.signal.aborted; await delay(2)) {
        const due = Math.floor(((performance.now() - begun) / 1_000) * perSecond);
        const ids = Array.from({ length: due - printed }, (_, n) => this.#ids[(printed + n) % this.#ids.length] ?? '');
        // One after the other, so that each job's lines keep their order.
        if (ids.length > 0) await this.print(ids);
        printed = due;
      }
    })();
  }

  async stop(): Promise<void> {
    this.#stop?.abort();
    await this.#printing;
  }

  async #line(id: string): Promise<BusMessage> {
    const number = this.last(id) + 1;
    this.#numbers.set(id, number);
    const text = `${now().toFixed(3)} ${'a line of a log, of sixty bytes.'.padEnd(41, '.')}`;
    const lines = await packLines(Buffer.from(formatLine('STDOUT', new Date().toISOString(), text)));
    const chunk = { sourceId: id, attempt: 1, firstNumber: number, lastNumber: number, lines };
    return { key: id, value: encodeChunks([chunk]) };
  }
}
