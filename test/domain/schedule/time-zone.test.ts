import { describe, expect, test } from 'vitest';
import { offsetMs, TIME_ZONE_DATA, timeZoneProblem } from '../../../domain/schedule/time-zone.ts';
import { cpuMs } from '../../support/cpu-time.ts';

describe('a time zone', () => {
  test.each([
    'UTC',
    'utc',
    'Europe/Berlin',
    'europe/BERLIN',
    'Europe/Kyiv',
    'Europe/Kiev',
    'America/Argentina/Buenos_Aires',
    'America/Port-au-Prince',
    'Australia/Lord_Howe',
    'Asia/Calcutta',
    'Asia/Kolkata',
    'US/Eastern',
  ])('is right: %s', (name) => {
    expect(timeZoneProblem(name)).toBeUndefined();
  });

  test.each([
    ['PST', 'Area/Location'],
    ['EST', 'Area/Location'],
    ['CEST', 'Area/Location'],
    ['EST5EDT', 'Area/Location'],
    ['+02:00', 'Area/Location'],
    ['UTC+2', 'Area/Location'],
    ['Etc/GMT+5', 'Area/Location'],
    ['Mars/X', 'Area/Location'],
    ['Europe/Berlin; DROP TABLE', 'Area/Location'],
    ['Europe/Berlin\0', 'write "Europe/Berlin"'],
    ['../etc/passwd', 'Area/Location'],
    ['', 'Area/Location'],
    ['GMT', 'write "UTC"'],
    ['Etc/UTC', 'write "UTC"'],
    ['Zulu', 'write "UTC"'],
    [' UTC', 'write "UTC"'],
    ['Berlin', 'write "Europe/Berlin"'],
    ['Europe/Berln', 'write "Europe/Berlin"'],
    ['new york', 'write "America/New_York"'],
    ['America/New York', 'write "America/New_York"'],
    [' Europe/Berlin', 'write "Europe/Berlin"'],
    ['A/'.repeat(40), 'at most 64 characters'],
  ])('is wrong: %j', (name, part) => {
    expect(timeZoneProblem(name)).toContain(part);
    expect(timeZoneProblem(name)).toMatch(/\.$/);
  });

  test('has at most 64 characters', () => {
    expect(timeZoneProblem(`Europe/${'x'.repeat(57)}`)).toContain('is not a time zone');
    expect(timeZoneProblem(`Europe/${'x'.repeat(58)}`)).toContain('at most 64 characters; this one has 65');
  });

  test.each([`Europe/${'x'.repeat(57)}`, 'x'.repeat(64), 'America/Argentina/Buenos_Airesss', 'Amerika/New_Yorck'])(
    'is judged quickly: %s',
    (name) => {
      timeZoneProblem(name); // the first one of a process reads the data
      expect(cpuMs(() => timeZoneProblem(name))).toBeLessThan(10);
    },
  );

  test('has an offset for each instant, with seconds where there were seconds', () => {
    expect(offsetMs(Date.UTC(2027, 6, 1), 'europe/berlin')).toBe(7_200_000);
    expect(offsetMs(Date.UTC(2027, 0, 1), 'America/St_Johns')).toBe(-12_600_000);
    expect(offsetMs(Date.UTC(2027, 0, 1), 'UTC')).toBe(0);
    expect(offsetMs(Date.UTC(1971, 0, 1), 'Africa/Monrovia')).toBe(-2_670_000);
    expect(offsetMs(-2e14, 'Europe/Berlin')).toBe(3_208_000);
  });

  test('has data of a version', () => {
    expect(TIME_ZONE_DATA).toMatch(/^\d{4}[a-z]/);
  });
});
