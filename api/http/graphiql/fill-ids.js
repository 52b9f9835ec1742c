import { useEditorContext } from '@graphiql/react';
import { useEffect, useRef, useSyncExternalStore } from 'react';
import { knownIds, withKnownIds } from './known-ids.js';

/**
 * Puts known ids into the variables of the tab that is shown: once for each tab after an answer
 * brought new ones, and always where there is none.
 */
export function FillIds() {
  const { variableEditor, tabs, activeTabIndex } = useEditorContext({ nonNull: true });
  const { version } = useSyncExternalStore(knownIds.subscribe, knownIds.get);
  const filledWith = useRef(new Map());
  const tabId = tabs[activeTabIndex]?.id;
  useEffect(() => {
    if (!variableEditor || version === 0) return;
    const renew = (filledWith.current.get(tabId) ?? 0) < version;
    filledWith.current.set(tabId, version);
    const text = withKnownIds(variableEditor.getValue(), renew);
    if (text !== undefined) variableEditor.setValue(text);
  }, [variableEditor, tabId, version]);
  return null;
}
