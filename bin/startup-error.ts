/**
 * Why this process does not start, as a sentence for the person who started it. The exit code is 2.
 */
export class StartupError extends Error {}

export class PortTaken extends StartupError {}

/**
 * A part that this process needs did not answer in time. The message is a sentence for a person.
 */
export class PartUnreachable extends Error {}
