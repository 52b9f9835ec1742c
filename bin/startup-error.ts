/** Why this process does not start, as a sentence for the person who started it. It ends with the exit code 2. */
export class Refusal extends Error {}

export class PortTaken extends Refusal {}
