import { Semaphore } from '../platform/async/semaphore.ts';
import { failure } from './errors.ts';

/**
 * Limits the length of all long texts in one answer together. It is counted while the answer is
 * made, because an answer is held whole until it is sent.
 */
export class AnswerBudget {
  #left = ANSWER_TEXT_LENGTH_MAX;
  /**
   * Limits how many pages of logs are read at a time: each holds what it reads until it has its
   * lines.
   */
  readonly logPages = new Semaphore(LOG_PAGES_AT_ONCE);

  /** Counts `length` characters. Throws BAD_REQUEST when the answer becomes too long. */
  take(length: number): void {
    this.#left -= length;
    if (this.#left >= 0) return;
    throw failure(
      'BAD_REQUEST',
      `The answer has more than ${ANSWER_TEXT_LENGTH_MAX} characters of log lines, payloads and audited changes: ask for fewer, in several requests.`,
    );
  }
}

export const ANSWER_TEXT_LENGTH_MAX = 16 * 1024 * 1024;
const LOG_PAGES_AT_ONCE = 4;
