// The ids that answers have shown, for the variables of other tabs.

/** The variables that are filled, and the lists that have their ids, newest first. */
const LISTS = { workflowId: 'workflows', jobId: 'jobs' };

let ids = { version: 0, values: {} };
const listeners = new Set();

export const knownIds = {
  get: () => ids,
  subscribe(listener) {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
};

function know(values) {
  ids = { version: ids.version + 1, values };
  for (const listener of listeners) listener();
}

/** Takes the ids of what a mutation made, and where none is known, the first ones of lists. */
export function learnFrom({ data }) {
  if (!data) return;
  const made = { workflowId: data.createWorkflow?.workflow?.id, jobId: data.runWorkflow?.job?.id };
  // The jobs of another workflow are not those of the new one.
  if (made.workflowId) know({ workflowId: made.workflowId });
  if (made.jobId) know({ ...ids.values, jobId: made.jobId });
  const [workflow] = data.workflows?.nodes ?? [];
  const [job] = (data.jobs ?? workflow?.jobs)?.nodes ?? [];
  if (workflow?.id && !ids.values.workflowId) know({ ...ids.values, workflowId: workflow.id });
  if (job?.id && !ids.values.jobId && (!workflow || workflow.id === ids.values.workflowId))
    know({ ...ids.values, jobId: job.id });
}

/**
 * The text of variables with known ids: in place of others if `renew`, otherwise where there is
 * none. Undefined if nothing changes.
 */
export function withKnownIds(text, renew) {
  const variables = objectOf(text);
  const changed = Object.entries(variables ?? {}).flatMap(([name, value]) => {
    if (!(name in LISTS) || (value && !renew)) return [];
    const id = ids.values[name] ?? '';
    return id === value ? [] : [[name, id]];
  });
  return changed.length === 0
    ? undefined
    : `${JSON.stringify({ ...variables, ...Object.fromEntries(changed) }, null, 2)}\n`;
}

/**
 * The variables with the newest id where one is blank. Asks `fetcher` if none is known, and throws
 * a sentence if there is none.
 */
export async function withNewestIds(variables, fetcher) {
  const filled = { ...variables };
  for (const name of Object.keys(LISTS)) {
    if (filled[name] !== '') continue;
    filled[name] = ids.values[name] ?? (await newest(name, fetcher));
  }
  return filled;
}

async function newest(name, fetcher) {
  const of = name === 'jobId' && ids.values.workflowId ? `, filter: { workflowId: "${ids.values.workflowId}" }` : '';
  const result = await fetcher({ query: `{ ${LISTS[name]}(first: 1${of}) { nodes { id } } }` });
  if (result.errors) throw result.errors;
  const [found] = result.data[LISTS[name]].nodes;
  if (!found) throw new Error(MISSING[name]);
  know({ ...ids.values, [name]: found.id });
  return found.id;
}

const MISSING = {
  workflowId: 'There is no workflow yet: run the tab CreateHeartbeat first.',
  jobId: 'There is no job yet: run the tab Run first, or wait for the next slot.',
};

function objectOf(text) {
  try {
    const parsed = JSON.parse(text);
    return typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed) ? parsed : undefined;
  } catch {
    return undefined; // not finished yet
  }
}
