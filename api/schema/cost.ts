/**
 * What a field costs beside the values in it. 100 are about as expensive as 100 values: a third of
 * a millisecond of this process and the database, which one statement takes.
 */
export class FieldCost {
  /** What the field itself costs: 1 is its value. */
  readonly base: number;
  /** What it costs more when one of these arguments is given. Counted once. */
  readonly given: { arguments: string[]; cost: number } | undefined;
  /** Whether it is a field of a page itself, and counts once whatever the size of the page. */
  readonly isPerPage: boolean;
  /** What each item of a list costs beside the values in it. */
  readonly perItem: number;
  /** How many items a list without pages has at most, or nearly always. */
  readonly itemsMax: number;
  /** The argument that lists what is asked for: there are as many items as it has. */
  readonly itemsOf: string | undefined;
  /**
   * How many items a page has if the caller gives neither `first` nor `last`. Undefined for a list
   * without pages.
   */
  readonly pageSize: number | undefined;

  constructor({
    base = 1,
    given,
    isPerPage = false,
    perItem = 0,
    itemsMax = 1,
    itemsOf,
    pageSize,
  }: Partial<FieldCost>) {
    this.base = base;
    this.given = given;
    this.isPerPage = isPerPage;
    this.perItem = perItem;
    this.itemsMax = itemsMax;
    this.itemsOf = itemsOf;
    this.pageSize = pageSize;
  }
}

/** The `extensions` of a field that costs more than one value. */
export function cost(of: { [Name in keyof FieldCost]?: FieldCost[Name] | undefined }): { cost: FieldCost } {
  return { cost: new FieldCost(of) };
}

/** One statement for each object that has the field. */
export const STATEMENT_COST = 100;
/**
 * Where rows or lines are searched for what an argument says, which may take some tenths of a
 * second.
 */
export const SEARCH_COST = 2_000;
/** Counting a list up to COUNTED_MAX, which a filter can make as slow as a search. */
export const COUNT_COST = SEARCH_COST;
/** A text of up to 64 KiB. */
export const LONG_TEXT_COST = 50;
/** Reading the expressions of a schedule, and computing one of its slots. */
export const EXPRESSIONS_COST = 100;
export const SLOT_COST = 10;
/** A change: some statements in a transaction. */
export const CHANGE_COST = 200;
/** Hashing a password. */
export const PASSWORD_COST = 2_000;
