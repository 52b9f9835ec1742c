import { LRUCache } from 'lru-cache';
import { FEW_SLIPS, nearest } from '../suggest.ts';
import { quoted } from './cron-field.ts';

/**
 * Which time zones there are, and their offsets. All of it is decided here: PostgreSQL reads some
 * names otherwise, and Intl takes abbreviations that mean another zone elsewhere.
 */

/**
 * The version of the time-zone data of this process, such as "2026b". An unknown one is the oldest.
 */
export const TIME_ZONE_DATA = process.versions.tz ?? '';

export const TIME_ZONE_LENGTH_MAX = 64;

const EXAMPLE = 'an IANA name of the form Area/Location, such as "Europe/Berlin", or "UTC"';

/** A sentence about what is wrong with the name of a time zone, or undefined. Any case is right. */
export function timeZoneProblem(name: string): string | undefined {
  if (name.length > TIME_ZONE_LENGTH_MAX)
    return `A time zone is ${EXAMPLE}, of at most ${TIME_ZONE_LENGTH_MAX} characters; this one has ${name.length}.`;
  if (/^UTC$/i.test(name) || (isAreaAndLocation(name) && isKnown(name))) return undefined;
  if (/^(etc\/)?(utc|uct|gmt|universal|zulu|greenwich|z)$/i.test(name.trim()))
    return `${quoted(name)} is not a time zone here: write "UTC".`;
  const near = nearestZone(name);
  if (near !== undefined) return `${quoted(name)} is not a time zone: write "${near}".`;
  const why = /^([A-Z]{2,4}|[A-Z]{3}\d[A-Z]{3}|(etc\/)?(gmt|utc)?[+-]\d.*)$/i.test(name)
    ? ': abbreviations have several meanings, and offsets no rules for daylight saving time'
    : '';
  return `${quoted(name)} is not a time zone${why}. Write ${EXAMPLE}.`;
}

function isAreaAndLocation(name: string): boolean {
  return /^[A-Z_]+(\/[A-Z0-9_+-]+){1,2}$/i.test(name) && !/^(etc|systemv)\//i.test(name);
}

function isKnown(name: string): boolean {
  try {
    formatOf(name);
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

function nearestZone(name: string): string | undefined {
  if (name.trim() === '') return undefined;
  const city = name.trim().toLowerCase().replaceAll(/\s+/g, '_').split('/').at(-1);
  const zones = Intl.supportedValuesOf('timeZone');
  return zones.find((zone) => zone.toLowerCase().endsWith(`/${city}`)) ?? nearest(name, zones, FEW_SLIPS);
}

/** By how many milliseconds the local clock is ahead of UTC. */
export function offsetMs(at: number, timeZone: string): number {
  const [, sign, hours, minutes, seconds] = OFFSET.exec(formatOf(timeZone).format(at)) ?? [];
  const offset = Number(hours ?? 0) * 3600 + Number(minutes ?? 0) * 60 + Number(seconds ?? 0);
  return (sign === '-' ? -offset : offset) * 1000;
}

/** As in "8 AM GMT+02:00". Before the zones were agreed on, there are seconds. */
const OFFSET = /GMT([+-])(\d\d):(\d\d)(?::(\d\d))?/;

/** To make a format takes 20 times as long as to use it. */
const formats = new LRUCache<string, Intl.DateTimeFormat>({ max: 100 });

function formatOf(timeZone: string): Intl.DateTimeFormat {
  const key = timeZone.toLowerCase();
  const known = formats.get(key);
  if (known) return known;
  // The shortest text with an offset: six times as fast as the parts of date and time.
  const format = new Intl.DateTimeFormat('en-US', { timeZone, hour: 'numeric', timeZoneName: 'longOffset' });
  formats.set(key, format);
  return format;
}
