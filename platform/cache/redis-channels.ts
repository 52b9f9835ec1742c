import type { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { settledWithin } from '../async/deadline.ts';
import type { Cache } from './cache.ts';

/**
 * Hints of all channels over one connection of their own, because Redis reserves a connection for
 * subscriptions once it subscribes.
 */
export interface RedisChannels {
  subscribe: Cache['subscribe'];
  /** Resolves when the first try to connect has ended, or the time is over. */
  started(msMax: number): Promise<void>;
  close(): void;
}

interface Listener {
  onMessage: (message: string) => void;
  onGap: (() => void) | undefined;
}

interface Channel {
  listeners: Set<Listener>;
  /**
   * Resolves when Redis was asked, whether it answered or not. After a failure, `restore`
   * subscribes when Redis is back.
   */
  asked: Promise<void>;
}

/** A ping this often finds a dead connection, which is then made again. */
const PING_MS = 10_000;

export function createRedisChannels(connection: Redis, prefix: string, log: Logger): RedisChannels {
  const channels = new Map<string, Channel>();

  connection.on('error', (error) => log.debug({ err: error }, 'The connection for hints has failed.'));
  connection.on('ready', () => void restore());
  connection.on('message', (name: string, message: string) => {
    for (const { onMessage } of channels.get(name)?.listeners ?? []) call(() => onMessage(message));
  });
  const pinging = setInterval(() => void ping(), PING_MS);

  /**
   * Runs after each connect. Subscribes to all channels, then calls `onGap` of the listeners,
   * because they may have missed hints.
   */
  async function restore(): Promise<void> {
    const names = [...channels.keys()];
    if (names.length === 0) return;
    const listeners = [...channels.values()].flatMap((channel) => [...channel.listeners]);
    try {
      await connection.subscribe(...names);
    } catch (error) {
      log.debug({ err: error }, 'Channels were not subscribed to again.');
      // The connect that follows calls `restore` again.
      if (connection.status === 'ready') connection.disconnect(true);
      return;
    }
    for (const { onGap } of listeners) if (onGap !== undefined) call(onGap);
  }

  async function ask(name: string): Promise<void> {
    if (connection.status !== 'ready') return; // `restore` does it
    try {
      await connection.subscribe(name);
    } catch (error) {
      log.debug({ err: error, name }, 'A channel was not subscribed to.');
      if (connection.status === 'ready') connection.disconnect(true);
    }
  }

  async function ping(): Promise<void> {
    if (connection.status !== 'ready') return;
    try {
      await connection.ping();
    } catch (error) {
      log.debug({ err: error }, 'The connection for hints does not answer, and is made again.');
      if (connection.status === 'ready') connection.disconnect(true);
    }
  }

  function call(listener: () => void): void {
    try {
      listener();
    } catch (error) {
      log.error({ err: error }, 'A listener threw at a hint, which is skipped.');
    }
  }

  function remove(name: string, channel: Channel, listener: Listener): void {
    channel.listeners.delete(listener);
    if (channel.listeners.size > 0 || channels.get(name) !== channel) return;
    channels.delete(name);
    if (connection.status !== 'ready') return;
    connection.unsubscribe(name).catch((error) => log.debug({ err: error, name }, 'A channel was not left.'));
  }

  return {
    async subscribe(channelName, onMessage, onGap) {
      const name = prefix + channelName;
      const listener: Listener = { onMessage, onGap };
      const channel = channels.get(name) ?? { listeners: new Set(), asked: ask(name) };
      channels.set(name, channel);
      channel.listeners.add(listener);
      await channel.asked;
      return () => remove(name, channel, listener);
    },

    async started(msMax) {
      const ended = new Promise<void>((resolve) => {
        connection.once('ready', resolve);
        connection.once('close', resolve);
      });
      await settledWithin(ended, msMax);
    },

    close() {
      clearInterval(pinging);
      channels.clear();
      connection.disconnect();
    },
  };
}
