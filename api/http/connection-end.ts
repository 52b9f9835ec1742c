import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';

/**
 * Answers an upgrade that is not wanted and lets go of its connection: at once when the client has read the answer and ends, and after
 * REFUSED_MS_MAX whatever the client does. The socket is raw here: Node's HTTP server has taken its own listeners and time-outs off it.
 */
export function refuseUpgrade(socket: Duplex, status: number, message: string): void {
  const body = JSON.stringify({ message });
  const headers = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'Connection: close',
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
  ];
  endSoon(socket);
  socket.end(`${headers.join('\r\n')}\r\n\r\n${body}`);
  socket.once('end', () => socket.destroy());
  socket.resume(); // a connection that is closed with unread bytes is reset, and the client might lose the answer
}

/** Destroys `socket`, whose client is refused, after REFUSED_MS_MAX, unless the function that it gives is called before. */
export function endSoon(socket: Duplex): () => void {
  const timer = setTimeout(() => socket.destroy(), REFUSED_MS_MAX);
  const stop = () => {
    clearTimeout(timer);
    socket.off('close', stop); // which would hold the timer for as long as an accepted WebSocket lasts
  };
  socket.once('close', stop);
  return stop;
}

const REFUSED_MS_MAX = 2_000;
