const KEY = 'graphiql:tabState'; // GraphiQL's own

/**
 * Adds the tab SignIn to the tabs that this browser has stored, if none of them signs in: whose
 * session has ended needs one.
 */
export function keepSignInTab(defaultTabs) {
  const state = storedState();
  const signIn = defaultTabs.find(({ query }) => query.includes('mutation SignIn'));
  if (!Array.isArray(state?.tabs) || !signIn || state.tabs.some(({ query }) => query?.includes('signIn('))) return;
  const id = `sign-in-${Date.now()}`;
  const tab = {
    ...signIn,
    id,
    hash: id,
    title: 'SignIn',
    operationName: 'SignIn',
    variables: null,
    headers: null,
    response: null,
  };
  localStorage.setItem(KEY, JSON.stringify({ ...state, tabs: [...state.tabs, tab] }));
}

function storedState() {
  try {
    return JSON.parse(localStorage.getItem(KEY));
  } catch {
    return undefined; // no storage here, or another program's value
  }
}
