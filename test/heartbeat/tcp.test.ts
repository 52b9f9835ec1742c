import { describe, expect, test } from 'vitest';
import { check, outcome, raw, texts } from './support.ts';

const ANSWER_BYTES_MAX = 64 * 1024;

describe('a heartbeat over TCP that sends or expects a text', () => {
  test('finds a greeting, and an answer to what it sends', async () => {
    const greeter = await raw((socket) => socket.write('220 mail.test ESMTP\r\n'));
    expect(outcome(await check({ endpoint: `tcp://${greeter.host}`, tcp_expect: '220 ' }))).toBe('ok');
    const echo = await raw((socket) => socket.on('data', (chunk) => socket.write(`you said ${chunk}`)));
    const result = await check({
      endpoint: `tcp://${echo.host}`,
      tcp_send: 'PING é\r\n',
      tcp_expect: 'said PING é\r\n',
    });
    expect(texts(result).slice(1)).toEqual([
      'Sent 9 bytes.',
      `${echo.host} sent 18 bytes that begin "you said PING é\\r\\n".`,
    ]);
    expect(outcome(result)).toBe('ok');
  });

  test('finds a text that comes in pieces, within a character too', async () => {
    const { host } = await raw((socket) => {
      const bytes = Buffer.from('xxé!');
      socket.setNoDelay(true);
      for (const [n] of bytes.entries()) setTimeout(() => socket.write(bytes.subarray(n, n + 1)), n * 10);
    });
    expect(outcome(await check({ endpoint: `tcp://${host}`, tcp_expect: 'xé!' }))).toBe('ok');
  });

  test('sends without waiting for an answer', async () => {
    const received: string[] = [];
    const { host } = await raw((socket) => socket.on('data', (chunk) => received.push(String(chunk))));
    expect(outcome(await check({ endpoint: `tcp://${host}`, tcp_send: 'hello' }))).toBe('ok');
    await expect.poll(() => received.join('')).toBe('hello');
  });

  test('fails when something else comes, and says what', async () => {
    const other = await raw((socket) => socket.end('-ERR\n'));
    expect(outcome(await check({ endpoint: `tcp://${other.host}`, tcp_expect: '+PONG' }))).toBe(
      `CHECK_FAILED: ${other.host} sent 5 bytes that begin "-ERR\\n" and closed the connection. "+PONG" was expected.`,
    );
    const nothing = await raw((socket) => socket.end());
    expect(outcome(await check({ endpoint: `tcp://${nothing.host}`, tcp_expect: '+PONG' }))).toBe(
      `CHECK_FAILED: ${nothing.host} sent nothing and closed the connection. "+PONG" was expected.`,
    );
    const reset = await raw((socket) => socket.write('ab', () => setTimeout(() => socket.resetAndDestroy(), 50)));
    expect(outcome(await check({ endpoint: `tcp://${reset.host}`, tcp_expect: '+PONG' }))).toBe(
      `CHECK_FAILED: ${reset.host} sent 2 bytes that begin "ab", then the connection failed (ECONNRESET). "+PONG" was expected.`,
    );
    const slow = await raw((socket) => socket.write('wait'));
    expect(outcome(await check({ endpoint: `tcp://${slow.host}`, tcp_expect: '+PONG', timeout_seconds: 1 }))).toBe(
      `TIMEOUT: Timed out after 1 s waiting for "+PONG" from ${slow.host}, which has sent 4 bytes that begin "wait".`,
    );
  });

  test('says what was expected behind an answer of control characters', async () => {
    const binary = await raw((socket) => socket.end(Buffer.alloc(60_000)));
    expect(outcome(await check({ endpoint: `tcp://${binary.host}`, tcp_expect: '+PONG' }))).toMatch(
      /^CHECK_FAILED: \S+ sent 60000 bytes that begin "(\\u0000){60,}" and closed the connection\. "\+PONG" was expected\.$/,
    );
  });

  test('reads 64 KiB and no more', async () => {
    const sending = (before: number) => raw((socket) => socket.write(`${'x'.repeat(before)}END${'y'.repeat(100_000)}`));
    const within = await sending(ANSWER_BYTES_MAX - 3);
    expect(outcome(await check({ endpoint: `tcp://${within.host}`, tcp_expect: 'END' }))).toBe('ok');
    const beyond = await sending(ANSWER_BYTES_MAX - 2);
    expect(outcome(await check({ endpoint: `tcp://${beyond.host}`, tcp_expect: 'END' }))).toMatch(
      /^CHECK_FAILED: \S+ sent 65536 bytes that begin "x{200}", and more than are read\. "END" was expected\.$/,
    );
  });
});
