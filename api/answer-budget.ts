import type { GraphQLError } from 'graphql';
import { Semaphore } from '../platform/async/semaphore.ts';
import { failure } from './errors.ts';

/**
 * Limits the length of all texts in one answer together, and of all that is read for it. Both count
 * while the answer is made, because an answer is held whole until it is sent.
 */
export class AnswerBudget {
  #left = ANSWER_TEXT_LENGTH_MAX;
  #readLeft = ANSWER_TEXT_LENGTH_MAX;
  /** Limits how many chunks of logs are held unpacked at a time. */
  readonly unpacking = new Semaphore(UNPACKED_CHUNKS_MAX);

  /** Counts `length` characters of the answer. Throws BAD_REQUEST when it becomes too long. */
  take(length: number): void {
    this.#left -= length;
    if (this.#left < 0) throw tooLong();
  }

  /**
   * Counts `length` characters that are read for the answer, which need not contain them. Throws
   * BAD_REQUEST when it becomes too much.
   */
  read(length: number): void {
    this.#readLeft -= length;
    if (this.#readLeft < 0) throw tooLong();
  }
}

function tooLong(): GraphQLError {
  return failure(
    'BAD_REQUEST',
    `The answer has more than ${ANSWER_TEXT_LENGTH_MAX} characters of text: ask for less, in several requests.`,
  );
}

export const ANSWER_TEXT_LENGTH_MAX = 16 * 1024 * 1024;
const UNPACKED_CHUNKS_MAX = 4;
