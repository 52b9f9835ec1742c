import type { CronExpression } from '../../../domain/schedule/cron-expression.ts';
import { readCronExpression } from '../../../domain/schedule/cron-expression.ts';
import type { Calendar } from '../../../domain/schedule/occurrences.ts';

export function expressionOf(text: string, seed?: string): CronExpression {
  const { expression, problem } = readCronExpression(text, seed);
  if (!expression) throw new Error(`${text}: ${problem}`);
  return expression;
}

export function calendarOf(timeZone: string, ...texts: string[]): Calendar {
  return { timeZone, expressions: texts.map((text) => expressionOf(text)) };
}
