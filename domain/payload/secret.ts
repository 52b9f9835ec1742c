/**
 * A secret as its author gives it. Without a value, the stored one is kept. It never reaches db/:
 * stored payloads hold SealedSecrets.
 */
export interface GivenSecret {
  secret: true;
  value?: string;
}

/** A secret as it is stored and cached: encrypted, and bound to its place. */
export interface SealedSecret {
  secret: true;
  sealed: string;
}

/**
 * Encrypts and decrypts. A sealed text opens only in its own place: moved to another workflow, or
 * to another name, it does not open. `open` throws an UnreadableSecret.
 */
export interface Sealer {
  seal(text: string, place: string): string;
  open(sealed: string, place: string): string;
  /**
   * Digests of a text that may contain secrets, to recognise the text later. Without the key,
   * guesses cannot be tested on them. Store the first. The others are under former keys, so a
   * stored digest is always among them.
   */
  digests(text: string): [present: Buffer, ...former: Buffer[]];
}

/**
 * A stored secret that does not open. The message is for the workflow's owner, and reveals nothing
 * of the secret.
 */
export class UnreadableSecret extends Error {
  override readonly name = 'UnreadableSecret';
}

/** The parts of a payload that may hold secrets. */
export type SecretSection = 'env' | 'headers' | 'registry_auth' | 'client_certificate' | 'proxy_auth';
/** Those in which a text is a secret, whether the document says so or not. */
export const SECRETS_ALONE: readonly SecretSection[] = ['registry_auth', 'client_certificate', 'proxy_auth'];

/** Where a secret stands. Case makes no difference in the names of headers. */
export function secretPlace(workflowId: string, section: SecretSection, name: string): string {
  return `${workflowId}\n${section}\n${section === 'headers' ? name.toLowerCase() : name}`;
}

/** Where the token of the ping URL of a workflow stands. */
export function pingTokenPlace(workflowId: string): string {
  return `${workflowId}\nping\ntoken`;
}
