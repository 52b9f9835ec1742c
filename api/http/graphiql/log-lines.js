// GraphiQL shows the newest result of a subscription. A log is read from its first line on, so its
// batches are added up.
const FIELDS = ['jobLogs', 'buildLogs'];
/** What is kept of a log. A tab with more would become slow; the oldest batches go first. */
const CHARACTERS_MAX = 200_000;

/** A function that gives each result all lines so far, in the log fields of the operation. */
export function addUpLogs(operation) {
  const keys = logKeys(operation);
  const batches = new Map(keys.map((key) => [key, []]));
  return (result) => {
    const added = keys.flatMap((key) => {
      const batch = result.data?.[key];
      if (!batch) return [];
      const kept = batches.get(key);
      kept.push(batch);
      while (kept.length > 1 && kept.reduce((sum, one) => sum + sizeOf(one), 0) > CHARACTERS_MAX) kept.shift();
      return [[key, joined(kept)]];
    });
    return added.length === 0 ? result : { ...result, data: { ...result.data, ...Object.fromEntries(added) } };
  };
}

/** The keys under which the operation asks for logs. */
function logKeys(operation) {
  return (operation?.selectionSet.selections ?? [])
    .filter(({ kind, name }) => kind === 'Field' && FIELDS.includes(name.value))
    .map(({ name, alias }) => (alias ?? name).value);
}

function joined(batches) {
  const [first, last] = [batches[0], batches.at(-1)];
  const whole = { ...last };
  if (typeof last.text === 'string') whole.text = batches.map(({ text }) => text).join('');
  if (Array.isArray(last.lines)) whole.lines = batches.flatMap(({ lines }) => lines);
  if (typeof last.firstNumber === 'number') whole.firstNumber = first.firstNumber;
  return whole;
}

function sizeOf({ text = '', lines = [] }) {
  return lines.reduce((sum, line) => sum + JSON.stringify(line).length, text.length);
}
