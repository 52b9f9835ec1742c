import { simpleParser } from 'mailparser';
import { expect, test } from 'vitest';
import { mailServer } from './mail-server.ts';
import { alert, sendOnce } from './messages.ts';
import { hasOpenSmtpd, openSmtpd } from './opensmtpd.ts';

const hasRelay = await hasOpenSmtpd('alerts by e-mail through a relay of another make');

test.skipIf(!hasRelay)('an alert keeps its id, its thread and its mark as automatic through OpenSMTPD', async () => {
  const { port, mails } = await mailServer();
  const relay = await openSmtpd({ port });
  const begun = alert({ workflow: { id: 'w', name: 'Sicherung für Köln' } });
  const smtp = { url: `smtp://127.0.0.1:${relay.port}`, from: 'Chronoverse <alerts@example.com>' };
  const target = { kind: 'EMAIL', address: 'ops@example.org' } as const;
  const over = alert({ ...begun, event: 'WORKFLOW_RECOVERED', deliveryId: alert().deliveryId });
  for (const one of [begun, over])
    expect(await sendOnce(target, { kind: 'ALERT', alert: one }, { smtp })).toEqual({
      outcome: 'DELIVERED',
      status: 250,
    });
  await expect.poll(() => mails.length, { message: relay.output() }).toBe(2);
  const received = await Promise.all(mails.map(({ raw }) => simpleParser(raw)));
  // A relay may change their order.
  const [first, second] = [begun, over].map(({ deliveryId }) =>
    received.find(({ messageId }) => messageId === `<${deliveryId}@example.com>`),
  );
  expect([first?.subject, second?.subject]).toEqual([
    'Sicherung für Köln is failing',
    'Sicherung für Köln works again',
  ]);
  const thread = `<incident-${begun.incident?.id}@example.com>`;
  for (const mail of [first, second]) {
    expect([mail?.references].flat()).toEqual([thread]);
    expect(mail?.inReplyTo).toBe(thread);
    expect(mail?.headers.get('auto-submitted')).toBe('auto-generated');
    expect(mail?.headers.get('received')).toContain('OpenSMTPD');
  }
  expect(first?.text).toContain('disk is full');
  expect(first?.html).toContain('<h3>Sicherung für Köln is failing</h3>');
  expect(mails.map(({ from, to }) => [from, to])).toEqual(Array(2).fill(['alerts@example.com', ['ops@example.org']]));
});
