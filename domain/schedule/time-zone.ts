/**
 * The names of time zones are decided here alone: PostgreSQL reads some of them otherwise, and
 * Intl takes abbreviations that mean another zone elsewhere.
 */

const EXAMPLE = 'an IANA name like "Europe/Berlin", or "UTC"';

/** The version of the time-zone data of this process, such as "2026b". */
export const TIME_ZONE_DATA = process.versions.tz ?? 'unknown';

/** A sentence about what is wrong with the name of a time zone, or undefined. Any case is right. */
export function timeZoneProblem(name: string): string | undefined {
  const upper = name.toUpperCase();
  if (upper === 'UTC') return undefined;
  const near = nearest(upper);
  if (near === undefined && (/^ETC\//.test(upper) || /^[A-Z]{3,4}\d?([A-Z]{3})?$/.test(upper) || /^[+-]/.test(name))) {
    const utc = ['ETC/UTC', 'GMT', 'ETC/GMT', 'ZULU', 'UCT'].includes(upper) ? ' This one is "UTC".' : '';
    return `A time zone is ${EXAMPLE}: "${name}" has no rules for daylight saving time, or several meanings.${utc}`;
  }
  if (/^[A-Z_]+(\/[A-Z0-9_+-]+){1,2}$/.test(upper) && isKnown(name)) return undefined;
  return `"${name}" is not a time zone: give ${near === undefined ? EXAMPLE : `"${near}", ${EXAMPLE}`}.`;
}

function isKnown(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

function nearest(upper: string): string | undefined {
  const city = upper.split('/').at(-1)?.replaceAll(' ', '_') ?? '';
  return Intl.supportedValuesOf('timeZone').find((zone) => zone.toUpperCase().endsWith(`/${city}`));
}
