import type { Run } from '../run.ts';
import { type HeaderBytes, textOf } from './header-text.ts';

/** How much of a URL a message shows: those of a sign-in may have thousands of characters. */
export const URL_LENGTH_MAX = 300;

/** Where a Location leads, for a message: without a user name and password. */
export function shownTarget(run: Run, location: HeaderBytes): string {
  const text = textOf(location);
  // First, because a mask does not find what is left of a secret.
  const masked = run.context.mask?.text(text) ?? text;
  return run.shortened(masked.replace(USER, '$1'), URL_LENGTH_MAX);
}

/** Up to the last @ of the host. A URL of http may have backslashes, and no slash at all. */
const USER = /^(https?:[\\/]*|(?:[a-z][a-z0-9+.-]*:)?[\\/]{2,})[^\\/?#]*@/i;
