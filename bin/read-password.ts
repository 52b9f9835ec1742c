import { createInterface, type Interface } from 'node:readline';
import { Writable } from 'node:stream';
import { StartupError } from './startup-error.ts';

/** More than the UTF-8 of the longest password needs. */
const INPUT_BYTES_MAX = 4_096;

/**
 * Reads a new password. A person types it twice at the terminal, which does not show it. Otherwise
 * it is the only line of standard input. Throws a StartupError if there is none.
 */
export function readNewPassword(email: string): Promise<string> {
  return process.stdin.isTTY ? askTwice(email) : readLine();
}

async function askTwice(email: string): Promise<string> {
  // Readline echoes the typed text to its output.
  const unseen = new Writable({ write: (_, __, done) => done() });
  const terminal = createInterface({ input: process.stdin, output: unseen, terminal: true, historySize: 0 });
  try {
    const first = await ask(terminal, `New password of ${email}: `);
    if (first !== (await ask(terminal, 'Again: ')))
      throw new StartupError('The two are not the same: nothing was changed.');
    return first;
  } finally {
    terminal.close();
  }
}

function ask(terminal: Interface, prompt: string): Promise<string> {
  process.stderr.write(prompt); // standard output is for the command's answer
  return new Promise((resolve, reject) => {
    // Ctrl-C, Ctrl-D.
    const stop = () => reject(new StartupError('No password was given: nothing was changed.'));
    terminal.once('close', stop);
    terminal.question('', (answer) => {
      terminal.off('close', stop);
      resolve(answer);
    });
  }).finally(() => process.stderr.write('\n')) as Promise<string>;
}

async function readLine(): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of process.stdin) {
    chunks.push(Buffer.from(chunk));
    size += chunk.length;
    if (size > INPUT_BYTES_MAX) break;
  }
  const text = decoded(Buffer.concat(chunks))?.replace(/\r?\n$/, '');
  if (text === '')
    throw new StartupError('No password was given: type it at a terminal, or send it on standard input.');
  if (text === undefined || /[\r\n]/.test(text) || size > INPUT_BYTES_MAX)
    throw new StartupError('Standard input must be the password alone: one line of UTF-8.');
  return text;
}

function decoded(bytes: Buffer): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined; // the caller refuses it with its other conditions
  }
}
