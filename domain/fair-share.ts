/**
 * A worker has few slots, and jobs may hold them for hours. A user who holds some takes another one
 * only while a good part of the slots stays free. So the next user finds one at once, and the one
 * after that too.
 */
export interface Share {
  /** Slots that the user holds. */
  held: number;
  /** Slots that no user holds. */
  free: number;
  /** The operator's maximum for one user. */
  max: number;
}

/**
 * How many slots a user may hold for each one that stays free. Alone, a user gets three quarters of
 * the slots: 12 of 16, 3 of 4, but 1 of 2, because the last one is for a user who has none.
 */
const HELD_TO_FREE = 3;

/**
 * Whether the user may take one more. A user who holds none may always take a free one. Two users
 * who want as much as they can get end up with the same number, however many the first one held
 * when the second one came. A third user still finds slots.
 */
export function mayTake({ held, free, max }: Share): boolean {
  if (free === 0) return false;
  return held === 0 || (held < max && held < HELD_TO_FREE * (free - 1));
}
