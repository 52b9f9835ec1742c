import { connect } from './connect.ts';
import { hostOf } from './endpoint.ts';
import { CheckFailure, type Run } from './run.ts';

/** tcp://host:port succeeds when it accepts a connection. It sends nothing. */
export async function checkTcp(run: Run, url: URL): Promise<void> {
  if (url.port === '') throw new CheckFailure(`${url.href} names no port. tcp://host:port was expected.`);
  await connect(run, hostOf(url), Number(url.port));
}
