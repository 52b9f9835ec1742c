/** One field of a mutation's input, as the audit shows it: never a secret. */
export interface AuditChange {
  field: string;
  /** The value if it is harmless, otherwise "changed". */
  value: string;
}

/** The fields whose values are shown. All others are only named: they may hold or be a secret. */
const SHOWN = new Set([
  'administrator',
  'alertAfterFailures',
  'expiresAt',
  'id',
  'includeLog',
  'interval',
  'isDefault',
  'logRetentionDays',
  'maxConsecutiveJobFailuresAllowed',
  'name',
  'preference',
  'purge',
  'scope',
]);
const CHANGED = 'changed';
export const AUDIT_CHANGES_MAX = 100;
/** The length of all changes of one event: a payload may have 200 names of 255 characters. */
const CHANGES_LENGTH_MAX = 4_096;
const VALUE_LENGTH_MAX = 255;

/**
 * The changes that an input makes, by the paths of its fields. In a list whose items have names,
 * the paths contain the names.
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

/**
 * The name of an environment variable, a header and the like. Such an item is one change, and its
 * name is no secret.
 */
function nameOf(item: unknown): string | undefined {
  return isNested(item) && 'name' in item && typeof item.name === 'string' ? item.name : undefined;
}

function shown(value: unknown): string {
  const text = value instanceof Date ? value.toISOString() : String(value);
  return text.slice(0, VALUE_LENGTH_MAX);
}

/**
 * An event as a sentence for a reader of the log: what was done, by which account, from where. It
 * contains nothing that the caller wrote.
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
