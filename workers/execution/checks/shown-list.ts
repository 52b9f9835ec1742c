/** A message has room for 1,000 characters, and ends with whose fault it is. */
const LIST_LENGTH_MAX = 380;

/** As many as there is room for, with how many more there are. Nothing of an empty list. */
export function shownList(before: string, all: string[], after: string, between = ', '): string {
  if (all.length === 0) return '';
  let shown = 0;
  for (let length = 0; shown < all.length; shown += 1) {
    length += (all[shown]?.length ?? 0) + between.length;
    if (length > LIST_LENGTH_MAX) break;
  }
  const more = shown < all.length ? ` and ${all.length - shown} more` : '';
  return `${before}${all.slice(0, shown).join(between)}${more}${after}`;
}
