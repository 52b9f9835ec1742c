/**
 * What a field counts itself, beside the values in it. 100 are about as expensive as 100 values: a third of a millisecond of this process and the
 * database, which a statement of its own takes.
 */
export class FieldCost {
  readonly base: number;
  /** What it counts more where one of these arguments is given, once. */
  readonly given: { arguments: string[]; cost: number } | undefined;
  /** How many items a list without pages has at most, or nearly always. */
  readonly itemsMax: number;

  constructor(base: number, given?: FieldCost['given'], itemsMax = 1) {
    this.base = base;
    this.given = given;
    this.itemsMax = itemsMax;
  }
}

/** The `extensions` of a field that is more expensive than one value. */
export function costs(base: number, given?: FieldCost['given']): { cost: FieldCost } {
  return { cost: new FieldCost(base, given) };
}

/** The `extensions` of a list that has no pages. */
export function costsOfList(itemsMax: number, base = 1): { cost: FieldCost } {
  return { cost: new FieldCost(base, undefined, itemsMax) };
}

/** A statement for each object that the field is asked of. */
export const STATEMENT_COST = 100;
/** Where rows or lines are looked through for what an argument says: that may take some tenths of a second. */
export const LOOKING_THROUGH_COST = 2_000;
/** A text of up to 64 KiB. */
export const LONG_TEXT_COST = 50;
/** A change: some statements in a transaction. */
export const CHANGE_COST = 200;
/** A password is hashed. */
export const PASSWORD_COST = 2_000;
