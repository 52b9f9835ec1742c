import fc from 'fast-check';

/**
 * Another way to the same answers, for comparison: it looks at the local clock minute by minute,
 * and reads fields word by word. It shares no code with domain/schedule.
 */

const MINUTE_MS = 60_000;

/** What a local clock shows at each minute of a time. */
export interface Clock {
  timeZone: string;
  from: number;
  until: number;
  /** For each minute from `from` on, the minutes since 1970 that the local clock shows. */
  shown: number[];
}

export function readClock(timeZone: string, from: number, until: number): Clock {
  const format = new Intl.DateTimeFormat('en-GB', {
    timeZone,
    hourCycle: 'h23',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
  });
  const shown: number[] = [];
  for (let at = from; at < until; at += MINUTE_MS) {
    const [day, month, year, hour, minute] = (format.format(at).match(/\d+/g) ?? []).map(Number);
    shown.push(Date.UTC(year ?? 0, (month ?? 0) - 1, day, hour, minute) / MINUTE_MS);
  }
  return { timeZone, from, until, shown };
}

/** The instants from the second day of the clock on at which the expression occurs, ascending. */
export function occurrencesOn({ from, shown }: Clock, expression: string): number[] {
  const [minute = '', hour = ''] = expression.split(' ');
  const isFixed = !/[*?/]/.test(minute + hour);
  const matches = matcherOf(expression);
  const found = new Set<number>();
  const seen = new Set<number>(); // on the first day too, whose end may come again
  for (const [index, now] of shown.entries()) {
    const before = shown[index - 1] ?? now - 1;
    const at = from + index * MINUTE_MS;
    if (isFixed) for (let skipped = before + 1; skipped < now; skipped += 1) if (matches(skipped)) found.add(at);
    if (!matches(now) || (isFixed && seen.has(now))) continue;
    seen.add(now);
    found.add(at);
  }
  return [...found].filter((at) => at >= from + 1440 * MINUTE_MS);
}

/** Whether minutes since 1970 match, as on a clock in UTC. */
function matcherOf(expression: string): (minutes: number) => boolean {
  const days = new Map<number, boolean>();
  const [minute = '', hour = ''] = expression.split(' ');
  const ofHour = tableOf(minute, 0, 59);
  const ofDay = tableOf(hour, 0, 23);
  return (minutes) => {
    if (!ofHour[((minutes % 60) + 60) % 60] || !ofDay[((((minutes / 60) | 0) % 24) + 24) % 24]) return false;
    const day = Math.floor(minutes / 1440);
    const isMatch = days.get(day) ?? matchesDay(expression, day);
    days.set(day, isMatch);
    return isMatch;
  };
}

/** Whether the day, counted from 1970, matches the last three fields. */
export function matchesDay(expression: string, day: number): boolean {
  const [, , dayOfMonth = '', month = '', weekday = ''] = expression.toUpperCase().split(' ');
  const date = new Date(day * 1440 * MINUTE_MS);
  if (!tableOf(named(month, MONTHS, 1), 1, 12)[date.getUTCMonth() + 1]) return false;
  const fits = {
    dayOfMonth: dayOfMonth.split(',').some((word) => fitsDayOfMonth(word, date)),
    weekday: named(weekday.replace('+', ''), DAYS, 0)
      .split(',')
      .some((word) => fitsWeekday(word, date)),
  };
  const isOpen = (text: string) => text === '*' || text === '?';
  if (weekday.startsWith('+') || isOpen(dayOfMonth) || isOpen(weekday)) return fits.dayOfMonth && fits.weekday;
  return fits.dayOfMonth || fits.weekday;
}

const MONTHS = 'JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC'.split(' ');
const DAYS = 'SUN MON TUE WED THU FRI SAT'.split(' ');

function named(text: string, names: string[], first: number): string {
  return names.reduce((left, name, index) => left.replaceAll(name, `${index + first}`), text);
}

function tableOf(field: string, min: number, max: number): boolean[] {
  const table: boolean[] = Array.from({ length: max + 1 }, () => false);
  for (const word of field.split(',')) {
    const [, range = '', step = '1'] = /^([^/]*)(?:\/(.*))?$/.exec(word) ?? [];
    const [first, last = first] = range === '*' || range === '?' ? [min, max] : range.split('-').map(Number);
    for (let value = min; value <= max; value += 1)
      if (value >= (first ?? 0) && value <= (last ?? 0) && (value - (first ?? 0)) % Number(step) === 0)
        table[value] = true;
  }
  return table;
}

function lastOf(date: Date): Date {
  return new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0));
}

function fitsDayOfMonth(word: string, date: Date): boolean {
  const day = date.getUTCDate();
  const last = lastOf(date);
  if (word === 'L') return day === last.getUTCDate();
  if (word === 'LW') return day === workdayNear(last, last).getUTCDate();
  if (!word.endsWith('W')) return tableOf(word, 1, 31)[day] === true;
  const wanted = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), Number(word.slice(0, -1))));
  return wanted.getUTCMonth() === date.getUTCMonth() && day === workdayNear(wanted, last).getUTCDate();
}

/** The one with the smallest distance of all workdays in the month. */
function workdayNear(wanted: Date, last: Date): Date {
  let best = wanted;
  let distance = Number.POSITIVE_INFINITY;
  for (let day = 1; day <= last.getUTCDate(); day += 1) {
    const candidate = new Date(Date.UTC(last.getUTCFullYear(), last.getUTCMonth(), day));
    const away = Math.abs(candidate.getTime() - wanted.getTime());
    if (candidate.getUTCDay() % 6 === 0 || away >= distance) continue;
    best = candidate;
    distance = away;
  }
  return best;
}

function fitsWeekday(word: string, date: Date): boolean {
  const weekday = date.getUTCDay();
  const day = date.getUTCDate();
  const [, of, nth] = /^(\d)(?:#(\d)|L)$/.exec(word) ?? [];
  if (of !== undefined) {
    if (Number(of) % 7 !== weekday) return false;
    return nth === undefined ? lastOf(date).getUTCDate() - day < 7 : Math.floor((day - 1) / 7) === Number(nth) - 1;
  }
  const table = tableOf(
    word === '*' || word === '?' || word.startsWith('*/') ? word.replace(/^[*?]/, '0-6') : word,
    0,
    7,
  );
  return table[weekday] === true || (weekday === 0 && table[7] === true);
}

/** Changes of the clocks in the zone from one year to another: a minute of each, at most `most`. */
export function changesOf(timeZone: string, fromYear: number, untilYear: number, most: number): number[] {
  const format = new Intl.DateTimeFormat('en-GB', { timeZone, timeZoneName: 'longOffset', hour: '2-digit' });
  const offset = (at: number) => /GMT.*/.exec(format.format(at))?.[0];
  const changes: number[] = [];
  const hour = 60 * MINUTE_MS;
  for (let day = Date.UTC(fromYear, 0); day < Date.UTC(untilYear, 0) && changes.length < most; day += 24 * hour)
    if (offset(day) !== offset(day + 24 * hour))
      for (let at = day; at < day + 24 * hour; at += hour / 4)
        if (offset(at) !== offset(at + hour / 4)) changes.push(at + hour / 4);
  return changes;
}

/** Expressions of all forms but H. Half of them have a fixed time, most at night. */
export function anyExpression(): fc.Arbitrary<string> {
  const number = (min: number, max: number) => fc.integer({ min, max }).map(String);
  const range = (min: number, max: number) =>
    fc.tuple(fc.integer({ min, max }), fc.integer({ min, max })).map(([a, b]) => `${Math.min(a, b)}-${Math.max(a, b)}`);
  const stepped = (min: number, max: number) =>
    fc
      .tuple(fc.oneof(fc.constant('*'), range(min, max)), fc.integer({ min: 1, max: max - min }))
      .map(([of, step]) => `${of}/${step}`);
  const list = (word: fc.Arbitrary<string>) =>
    fc.array(word, { minLength: 1, maxLength: 3 }).map((words) => words.join());
  const timeOf = (min: number, max: number, near: fc.Arbitrary<string>) =>
    fc.oneof(
      { weight: 4, arbitrary: list(near) },
      { weight: 2, arbitrary: list(range(min, max)) },
      { weight: 2, arbitrary: list(fc.oneof(near, stepped(min, max))) },
      { weight: 1, arbitrary: fc.constantFrom('*', '?') },
    );
  const dayOfMonth = fc.oneof(
    { weight: 4, arbitrary: fc.constant('*') },
    list(fc.oneof(number(1, 31), range(1, 31), stepped(1, 31), fc.constantFrom('L', 'LW', '1W', '15W', '28W', '31W'))),
  );
  const month = fc.oneof(
    { weight: 5, arbitrary: fc.constant('*') },
    list(range(1, 12)),
    stepped(1, 12),
    fc.constantFrom('MAR', 'sep-Nov'),
  );
  const weekday = fc.oneof(
    { weight: 4, arbitrary: fc.constant('*') },
    list(
      fc.oneof(
        number(0, 7),
        range(0, 7),
        stepped(0, 6),
        fc.constantFrom('SUN', 'mon-Fri', '5L', '0#1', '7L', '6#5', '1#2'),
      ),
    ),
  );
  return fc
    .tuple(
      timeOf(0, 59, fc.oneof(fc.constantFrom('0', '15', '30', '45', '59'), number(0, 59))),
      timeOf(0, 23, fc.oneof(fc.constantFrom('0', '1', '2', '3', '23'), number(0, 23))),
      dayOfMonth,
      month,
      fc.constantFrom('', '', '+'),
      weekday,
    )
    .map(
      ([minute, hour, day, monthText, plus, weekdayText]) =>
        `${minute} ${hour} ${day} ${monthText} ${plus}${weekdayText}`,
    );
}

export const ZONES = [
  'Europe/Berlin',
  'America/New_York',
  'Australia/Lord_Howe',
  'Asia/Kathmandu',
  'Africa/Cairo',
  'Antarctica/Troll',
  'Africa/Casablanca',
  'Pacific/Chatham',
  'America/St_Johns',
  'America/Nuuk',
  'America/Santiago',
  'America/Havana',
  'Asia/Gaza',
  'Europe/Dublin',
  'Asia/Tehran',
  'Pacific/Apia',
  'Pacific/Kiritimati',
  'UTC',
];
