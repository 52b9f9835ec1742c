import { randomInt } from 'node:crypto';
import dgram from 'node:dgram';
import net from 'node:net';

/**
 * How a name server answers the question that every working one can answer: the SOA record of the
 * root. FAILING: it answers SERVFAIL, REFUSED or the like.
 */
export type ServerHealth = 'WORKING' | 'FAILING' | 'SILENT';

/** The instants at which the question is sent: a packet may get lost. */
const SENT_AT_MS = [0, 500, 1_000];
const WAIT_MS = 2_000;

/**
 * Asks one server (an address, with a port or without) over UDP. It does not use c-ares, which
 * tells neither a truncated answer from none, nor one server from another. CLOSED: it says at once
 * that it takes no question, and c-ares too asks the next one at once.
 */
export function askForRoot(server: string): Promise<ServerHealth | 'CLOSED'> {
  const { address, port } = addressAndPort(server);
  const id = randomInt(0x1_00_00);
  const question = rootQuestion(id);
  return new Promise((resolve) => {
    const socket = dgram.createSocket(net.isIP(address) === 6 ? 'udp6' : 'udp4');
    const timers = [setTimeout(end, WAIT_MS, 'SILENT')];
    function end(health: ServerHealth | 'CLOSED'): void {
      for (const timer of timers) clearTimeout(timer);
      socket.removeAllListeners('error').on('error', () => undefined);
      socket.close();
      resolve(health);
    }
    socket.on('error', () => end('CLOSED')); // no route, or nobody listens at the port
    socket.on('message', (answer) => {
      const code = responseCode(answer, id);
      if (code !== undefined) end(code === NO_ERROR || code === NO_SUCH_NAME ? 'WORKING' : 'FAILING');
    });
    // Connected, the socket takes packets of this server alone, and hears of refusals.
    socket.connect(port, address, () => {
      for (const at of SENT_AT_MS) timers.push(setTimeout(() => socket.send(question), at));
    });
  });
}

const DNS_PORT = 53;
const NO_ERROR = 0;
const NO_SUCH_NAME = 3;

/** Reads what `dns.getServers()` gives: "192.0.2.1", "192.0.2.1:53" or "[2001:db8::1]:53". */
export function addressAndPort(server: string): { address: string; port: number } {
  if (net.isIP(server) !== 0) return { address: server, port: DNS_PORT };
  const [, address = '', port] = /^\[?([^\]]+?)\]?(?::(\d+))?$/.exec(server) ?? [];
  return { address, port: Number(port ?? DNS_PORT) };
}

/** "What is the SOA record of the root?", with recursion desired. */
function rootQuestion(id: number): Buffer {
  const head = Buffer.from([0, 0, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
  head.writeUInt16BE(id);
  return Buffer.concat([head, Buffer.from([0 /* the root */, 0, 6 /* SOA */, 0, 1 /* IN */])]);
}

/** The code of the response to the question `id`, or undefined for another packet. */
function responseCode(answer: Buffer, id: number): number | undefined {
  const isResponse = answer.length >= 12 && answer.readUInt16BE(0) === id && (answer.readUInt8(2) & 0x80) !== 0;
  return isResponse ? answer.readUInt8(3) & 0x0f : undefined;
}
