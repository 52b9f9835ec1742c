import dgram from 'node:dgram';

/** Why this process can open no socket now (EMFILE ...), or undefined if it can. */
export function socketFault(): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = dgram.createSocket('udp4');
    socket.once('error', (error: NodeJS.ErrnoException) => {
      socket.close();
      resolve(error.code ?? error.message);
    });
    socket.bind(0, '127.0.0.1', () => {
      socket.close();
      resolve(undefined);
    });
  });
}
