import type { IncomingMessage } from 'node:http';
import type { Identity } from '../../db/accounts/tokens.ts';
import type { Asker } from '../admission/admission.ts';
import type { Client } from '../context.ts';
import type { Params } from './params.ts';

/** What a transport knows about an operation. */
export interface Transport {
  client: Client;
  /** The token that was presented. '' is something that cannot be a token. */
  token: string | undefined;
  /** The owner of the token, once it is looked up. */
  identity: Promise<Identity | undefined>;
  /** When the lookup began, by performance.now(). */
  askedAt: number;
  asker: Asker;
  /** Over HTTP: the request, whose body is not read yet. */
  incoming?: IncomingMessage;
  /** What the body asks for, if it is being read already. */
  params?: Promise<Params> | undefined;
  /** The turn of an operation over HTTP, which begins when its body has arrived. */
  turn?: Turn;
}

export interface Turn {
  begin(length: number): Promise<void>;
  end(): void;
}
