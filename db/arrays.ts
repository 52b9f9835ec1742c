import { type SQL, sql } from 'drizzle-orm';

export type Value = string | number | boolean | Buffer | null | undefined;
export type ElementType = 'uuid' | 'text' | 'integer' | 'bytea' | 'boolean' | 'double precision' | 'timestamptz';

/**
 * One parameter that holds a whole array, as PostgreSQL's array literal. A list of parameters would
 * make a different statement for every length. The driver's own arrays cost a microsecond per
 * element, and the driver mistakes arrays of bytes or booleans for a single value.
 */
export function array(values: readonly Value[], type: ElementType): SQL {
  return sql`${arrayText(values, type)}::${sql.raw(type)}[]`;
}

/** The array literal alone, as the value of a placeholder. */
export function arrayText(values: readonly Value[], type: ElementType): string {
  const toText = type === 'text' || type === 'timestamptz' ? quote : type === 'bytea' ? toHex : String;
  const elements = values.map((value) => (value === null || value === undefined ? 'NULL' : toText(value)));
  return `{${elements.join(',')}}`;
}

function quote(value: Value): string {
  return `"${String(value).replace(/["\\]/g, '\\$&')}"`;
}

function toHex(value: Value): string {
  return `"\\\\x${Buffer.isBuffer(value) ? value.toString('hex') : ''}"`;
}

/**
 * The elements of `string_agg(…, ' ')`. An array in an answer costs the driver a microsecond per
 * element.
 */
export function words(text: string): string[] {
  return text === '' ? [] : text.split(' ');
}

export function seconds(count: number): SQL {
  return sql`make_interval(secs => ${count})`;
}
