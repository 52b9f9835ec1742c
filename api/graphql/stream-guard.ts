import type { GraphQLError } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { Semaphore } from '../../platform/async/semaphore.ts';
import { type Context, contextAlone } from '../context.ts';
import { failure, unauthenticated } from '../errors.ts';
import type { StreamEnd } from '../live/streams.ts';
import { GuardedStream } from './guarded-stream.ts';
import { slimSubscription, subscribeSlim } from './slim-subscription.ts';

/**
 * Around every subscription over HTTP: what goes wrong in it is an error that the client is sent before the end, and the stream ends when its
 * client is gone, its token is no longer valid, or the process goes down. (A WebSocket is closed as a whole for these; api/websocket/operations.ts.)
 */
export function streamGuard(maskError: (error: unknown) => GraphQLError): Plugin<Context> {
  return {
    onSubscribe({ args, setSubscribeFn, setResultAndStopExecution }) {
      const { client, services, viewer, asker } = args.contextValue;
      let stream: GuardedStream | undefined;
      let ended: StreamEnd | undefined;
      const end = (reason: StreamEnd) => {
        ended = reason;
        stream?.fail(
          reason === 'TOKEN' ? unauthenticated() : failure('UNAVAILABLE', 'The server goes down: subscribe again.'),
        );
      };
      const releases: (() => void)[] = [];
      const release = () => {
        for (const each of releases) each();
      };
      try {
        // Before it begins: of many that come at once none may pass the others by.
        releases.push(services.streams.openOverHttp({ viewer, address: client.address }, end));
        const sent = { ...args, contextValue: contextAlone(args.contextValue) };
        const kept = slimSubscription(sent);
        releases.push(services.admission.hold(asker, kept.bytes));
        const subscribe = () => subscribeSlim(sent, kept.args, maskError, new Semaphore(1));
        setSubscribeFn(async () => {
          try {
            return await (client.work?.run(subscribe) ?? subscribe());
          } catch (error) {
            release(); // no result comes
            return { errors: [maskError(error)] };
          }
        });
        Object.assign(args, { ...kept.args, contextValue: args.contextValue }); // what the engine holds meanwhile
        Object.assign(args.contextValue, { params: undefined });
      } catch (error) {
        release();
        setResultAndStopExecution({ errors: [maskError(error)] });
        return;
      }
      return {
        onSubscribeResult({ result }) {
          if (!(result instanceof GuardedStream)) return release();
          stream = result;
          stream.onEnd(release);
          client.onGone?.(() => stream?.end());
          if (ended) end(ended);
        },
      };
    },
  };
}
