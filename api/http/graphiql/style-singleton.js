// Stands in for the package of this name, which writes <style> elements: the page's policy takes no style sheet but its own file. One
// that a script constructs is no text that could have been injected.
import { useEffect } from 'react';

/** A component that keeps its `styles` in force for as long as it is shown. */
export function styleSingleton() {
  const sheet = new CSSStyleSheet();
  let shown = 0;
  return function Style({ styles }) {
    useEffect(() => {
      sheet.replaceSync(styles);
      shown += 1;
      if (shown === 1) document.adoptedStyleSheets.push(sheet);
      return () => {
        shown -= 1;
        if (shown === 0) document.adoptedStyleSheets = document.adoptedStyleSheets.filter((other) => other !== sheet);
      };
    }, [styles]);
    return null;
  };
}
