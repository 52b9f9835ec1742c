import type { IncomingMessage } from 'node:http';
import { settledWithin } from '../../../platform/async/deadline.ts';
import { createDemultiplexer } from '../../../platform/docker/demultiplexer.ts';
import type { Docker } from '../../../platform/docker/docker.ts';
import { createTextCutter } from './lines.ts';
import { partsOf } from './parts.ts';
import type { LineWriter } from './reader.ts';

/** What a container prints, as it prints it. */
export interface LiveReader {
  /**
   * Reads until the engine ends the output, and resolves with `true`. Resolves with `false` when
   * the writer takes nothing for STALL_MS: the container would wait. Rejects with an EngineError.
   */
  read(): Promise<boolean>;
  /** The lines that are not complete are complete. Call it when nothing can follow. */
  end(): void;
  /** When the engine gave its last sign of life, in milliseconds. */
  lastContact(): number;
}

/**
 * The engine keeps 1 MB per stream for a reader that is slow, and then the container's next write
 * waits. So a reader that stands still leaves, and reads the engine's log later. Engines wait for 2
 * seconds for what a container printed last, so this must be less.
 */
const STALL_MS = 500;

export function createLiveReader(
  docker: Docker,
  { containerId, output, writer }: { containerId: string; output: IncomingMessage; writer: LineWriter },
): LiveReader {
  const cutter = createTextCutter(writer.onLine);
  const demultiplexer = createDemultiplexer(cutter.onFrame);
  let lastContact = Date.now();
  const onContact = () => {
    lastContact = Date.now();
  };

  return {
    async read() {
      for await (const part of partsOf(docker, containerId, output, onContact)) {
        cutter.setTime(new Date(lastContact));
        demultiplexer.write(part);
        const room = writer.room();
        if (room !== undefined && !(await settledWithin(room, STALL_MS))) {
          room.catch(() => undefined); // the next write meets the same error
          return false;
        }
      }
      return true;
    },
    end: () => cutter.end(),
    lastContact: () => lastContact,
  };
}
