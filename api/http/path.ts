import type { IncomingMessage } from 'node:http';

/** The path that is asked for, without its query; '' where it is none. */
export function pathOf({ url = '' }: IncomingMessage): string {
  const [path = ''] = url.split('?', 1);
  return path.startsWith('/') && !path.startsWith('//') ? path : '';
}
