import type { Short } from './messages.ts';

interface Operation {
  /** Whether the client has completed it. It is under way until the library is done with it. */
  isCompleted: boolean;
  /** The message that begins the next operation with the same id. */
  next?: Short | undefined;
}

/** What `ReusedIds` does with a message. */
interface Handling {
  /** Gives a message to the library. Resolves when the operation that it begins is over. */
  handle(text: string): Promise<void>;
  /** Forgets the payload of a message that the library does not get. */
  drop(short: Short): void;
  /** Closes the socket: two operations that are not completed have the same id. */
  refuse(id: string): void;
}

/**
 * Lets an operation wait while an earlier one of the same id is under way that its client has
 * completed. A client may use an id again at once, but the library knows operations by their ids
 * alone: it takes the end of the first for that of the second, which is then never answered.
 */
export class ReusedIds {
  readonly #operations = new Map<string, Operation>();
  readonly #handling: Handling;

  constructor(handling: Handling) {
    this.#handling = handling;
  }

  take(short: Short): void {
    const { type, id = '', text } = short;
    const known = this.#operations.get(id);
    if (type === 'complete' && known) {
      if (known.next) {
        this.#handling.drop(known.next);
        known.next = undefined;
        return;
      }
      known.isCompleted = true;
    }
    if (type !== 'subscribe') void this.#handling.handle(text);
    else if (known === undefined) this.#begin(id, text);
    else if (known.isCompleted && !known.next) known.next = short;
    else this.#handling.refuse(id);
  }

  #begin(id: string, text: string): void {
    const operation: Operation = { isCompleted: false };
    this.#operations.set(id, operation);
    void this.#handling.handle(text).then(() => {
      this.#operations.delete(id);
      if (operation.next) this.#begin(id, operation.next.text);
    });
  }
}
