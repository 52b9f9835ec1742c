/** One field of a mutation's input, as the audit shows it: never a secret. */
export interface AuditChange {
  field: string;
  /** Its value where that is harmless, else "changed". */
  value: string;
}

/** Fields whose values are shown. All others are only named: they may hold a secret, or be one. */
const SHOWN = new Set([
  'administrator',
  'expiresAt',
  'id',
  'interval',
  'logRetentionDays',
  'maxConsecutiveJobFailuresAllowed',
  'name',
  'preference',
  'purge',
  'scope',
]);
const CHANGED = 'changed';
export const AUDIT_CHANGES_MAX = 100;
/** Of one event, over all of its changes: a payload may have 200 names of 255 characters. */
const CHANGES_LENGTH_MAX = 4_096;
const VALUE_LENGTH_MAX = 255;

/**
 * What an input gives, by the paths of its fields. Of lists whose items have names, the names stand
 * in the paths.
 */
export function auditChanges(input: object): AuditChange[] {
  const changes: AuditChange[] = [];
  let left = 0;
  let length = 0;

  function add(field: string, value: string): void {
    length += field.length + value.length;
    if (changes.length < AUDIT_CHANGES_MAX && length <= CHANGES_LENGTH_MAX) changes.push({ field, value });
    else left += 1;
  }

  function walk(value: unknown, path: string[]): void {
    if (Array.isArray(value)) {
      for (const [index, item] of value.entries()) walk(item, [...path, nameOf(item) ?? String(index)]);
    } else if (isNested(value) && nameOf(value) === undefined) {
      for (const [name, item] of Object.entries(value)) walk(item, [...path, name]);
    } else if (value !== undefined) add(path.join('.').slice(0, VALUE_LENGTH_MAX), CHANGED);
  }

  for (const [name, value] of Object.entries(input)) {
    if (name === 'payload') walk(value, [name]);
    else if (value !== undefined) add(name, SHOWN.has(name) && !isNested(value) ? shown(value) : CHANGED);
  }
  if (left > 0) changes.push({ field: '...', value: `${left} more` });
  return changes;
}

function isNested(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !(value instanceof Date);
}

/** Of an environment variable, a header and the like: one thing, whose name is no secret. */
function nameOf(item: unknown): string | undefined {
  return isNested(item) && 'name' in item && typeof item.name === 'string' ? item.name : undefined;
}

function shown(value: unknown): string {
  const text = value instanceof Date ? value.toISOString() : String(value);
  return text.slice(0, VALUE_LENGTH_MAX);
}

/**
 * An event for a person who reads the log: what was done, by which account, from where. Of what the
 * caller wrote, nothing.
 */
export function auditSentence(event: {
  action: string;
  outcome: string;
  code?: string | null;
  count?: number;
  userId?: string | null;
  actorId?: string | null;
  objectId?: string | null;
  address?: string | null;
}): string {
  const { action, outcome, code, count = 1, actorId, objectId, address } = event;
  const userId = actorId ?? event.userId;
  return [
    `audit: ${action} ${outcome}`,
    code ? ` (${code})` : '',
    count > 1 ? `, ${count} times` : '',
    userId ? `, user ${userId}` : '',
    objectId && objectId !== userId ? `, on ${objectId}` : '',
    address ? `, from ${address}` : '',
  ].join('');
}
