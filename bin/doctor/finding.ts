export interface Finding {
  /** UNKNOWN: it could not be tried. */
  state: 'FINE' | 'UNSAFE' | 'UNKNOWN';
  /** Sentences that say what was found, and what corrects it. */
  text: string;
}

export const fine = (text: string): Finding => ({ state: 'FINE', text });
export const unsafe = (text: string): Finding => ({ state: 'UNSAFE', text });
export const unknown = (text: string): Finding => ({ state: 'UNKNOWN', text });
