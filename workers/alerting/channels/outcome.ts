import type { SendOutcome } from '../../../domain/alerts/alert.ts';
import { type HttpAnswer, type HttpContext, type HttpRequest, NoAnswer, postTo } from '../http.ts';
import { shortLine } from '../short-line.ts';

/** What every channel over HTTP needs to send. */
export type ChannelContext = Omit<HttpContext, 'secrets'>;

type Failed = Extract<SendOutcome, { outcome: 'FAILED' }>;

/** A failed attempt. It may go well another time, unless `verdict` says otherwise. */
export function failed(error: string, verdict: Failed['verdict'] = 'LATER', status?: number): Failed {
  return { outcome: 'FAILED', status, error: shortLine(undefined, error), retryAfterSeconds: undefined, verdict };
}

/**
 * Sends one request and judges its answer by its status:
 * - 2xx: delivered (RFC 9110, section 15.3).
 * - 410: dead, whatever the service. Who answers so says that it is for good (RFC 9110, section
 *   15.5.11), and Standard Webhooks has its senders disable the endpoint.
 * - 429: busy (RFC 6585, section 4).
 * - What `isDead` says of its service.
 * - Everything else may go well later: redirects, which nobody follows, faults of a server, and
 *   other 4xx too, which a deployment with a fault answers for a while.
 */
export async function outcomeOf(
  url: string,
  request: HttpRequest,
  context: HttpContext,
  isDead: (answer: HttpAnswer) => boolean = () => false,
): Promise<SendOutcome> {
  try {
    const answer = await postTo(url, request, context);
    if (answer.status >= 200 && answer.status < 300) return { outcome: 'DELIVERED', status: answer.status };
    return refused(new URL(url).host, answer, isDead(answer));
  } catch (error) {
    if (error instanceof NoAnswer) return failed(error.message);
    throw error;
  }
}

const GONE = 410;
const TOO_MANY_REQUESTS = 429;

function refused(host: string, answer: HttpAnswer, isDead: boolean): Failed {
  const { status, text, retryAfterSeconds } = answer;
  const said = text === '' ? '' : `: ${text}`;
  if (status === GONE || isDead)
    return failed(`${host} takes no messages here any more (${status})${said}`, 'DEAD', status);
  const verdict = status === TOO_MANY_REQUESTS ? 'BUSY' : 'LATER';
  const isRedirect = status >= 300 && status < 400;
  const error = isRedirect
    ? `${host} answered with a redirect (${status}), which alerts do not follow: give the channel its new URL.`
    : `${host} answered ${status}${said}${said === '' ? '.' : ''}`;
  return { ...failed(error, verdict, status), retryAfterSeconds };
}
