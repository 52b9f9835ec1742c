import { once } from 'node:events';
import { SMTPServer, type SMTPServerOptions } from 'smtp-server';
import { onTestFinished } from 'vitest';

export interface Mail {
  from: string;
  to: string[];
  raw: string;
  isSecure: boolean;
  user: string | undefined;
}

/** A mail server on loopback. Without options it takes everything, with neither TLS nor login. */
export async function mailServer(options: SMTPServerOptions = {}) {
  const mails: Mail[] = [];
  const server = new SMTPServer({
    disabledCommands: [...(options.key ? [] : ['STARTTLS']), ...(options.onAuth ? [] : ['AUTH'])],
    authOptional: !options.onAuth,
    logger: false,
    async onData(stream, session, done) {
      let raw = '';
      for await (const piece of stream.setEncoding('utf8')) raw += piece;
      const { mailFrom, rcptTo } = session.envelope;
      const from = mailFrom ? mailFrom.address : '';
      const user = session.user === undefined ? undefined : String(session.user);
      mails.push({ from, to: rcptTo.map(({ address }) => address), raw, isSecure: session.secure, user });
      done();
    },
    ...options,
  });
  server.on('error', () => undefined); // a client may refuse the certificate
  const listener = server.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  onTestFinished(() => new Promise<void>((resolve) => server.close(() => resolve())));
  const address = listener.address();
  if (typeof address !== 'object' || address === null) throw new Error('It does not listen.');
  return { host: `127.0.0.1:${address.port}`, port: address.port, mails };
}
