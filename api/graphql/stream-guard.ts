import type { GraphQLError } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { Semaphore } from '../../platform/async/semaphore.ts';
import { type Context, contextAlone } from '../context.ts';
import { unauthenticated } from '../errors.ts';
import type { StreamEnd } from '../live/streams.ts';
import type { BegunStreams } from './event-stream.ts';
import { GuardedStream } from './guarded-stream.ts';
import { slimSubscription, subscribeSlim } from './slim-subscription.ts';

/**
 * Guards every subscription over HTTP: a failure becomes a last error for the client, and the
 * stream ends when its client leaves, its token ends or the process shuts down. (A WebSocket is
 * closed as a whole; see api/websocket/operations.ts.)
 */
export function streamGuard(maskError: (error: unknown) => GraphQLError, begun: BegunStreams): Plugin<Context> {
  return {
    onSubscribe({ args, setSubscribeFn, setResultAndStopExecution }) {
      const { client, services, viewer, asker } = args.contextValue;
      let stream: GuardedStream | undefined;
      let ended: StreamEnd | undefined;
      const end = (reason: StreamEnd) => {
        ended = reason;
        if (reason === 'TOKEN') stream?.fail(unauthenticated());
        else stream?.interrupt(); // clients subscribe again
      };
      const releases: (() => void)[] = [];
      const release = () => {
        for (const each of releases) each();
      };
      try {
        // Counted before it begins, so that of many at once none gets past the limit.
        releases.push(services.streams.openOverHttp({ viewer, address: client.address }, end));
        const sent = { ...args, contextValue: contextAlone(args.contextValue) };
        const kept = slimSubscription(sent);
        releases.push(services.admission.hold(asker, kept.bytes));
        const subscribe = () => subscribeSlim(sent, kept.args, maskError, new Semaphore(1));
        setSubscribeFn(async () => {
          try {
            return await (client.work?.run(subscribe) ?? subscribe());
          } catch (error) {
            release(); // no result follows
            return { errors: [maskError(error)] };
          }
        });
        // The engine holds these while it runs.
        Object.assign(args, { ...kept.args, contextValue: args.contextValue });
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
          begun.set(client, { stream, isAnswered: false });
          stream.onEnd(release);
          client.onGone?.(() => stream?.end());
          if (ended) end(ended);
        },
      };
    },
  };
}
