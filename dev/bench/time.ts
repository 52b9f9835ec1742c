/** The wall clock, in milliseconds with decimals. */
export function now(): number {
  return performance.timeOrigin + performance.now();
}

/** The milliseconds, with decimals, of an RFC 3339 timestamp with nanoseconds. */
export function toMs(timestamp: string): number {
  const [, seconds = '', fraction = '0'] = /^(.*?)(?:\.(\d+))?Z$/.exec(timestamp) ?? [];
  return Date.parse(`${seconds}Z`) + Number(`0.${fraction}`) * 1_000;
}
