import { LINE_BYTES_MAX } from '../../../domain/limits.ts';
import type { OnLine } from '../../../domain/logs/encode.ts';
import { flagOf } from '../../../domain/logs/line-flags.ts';
import type { OnFrame, StreamType } from '../../../platform/docker/demultiplexer.ts';

export interface LineCutter {
  onFrame: OnFrame;
  /** Call it at the end of the log. A last line without a newline is a line too. */
  end(): void;
  /** The engine's timestamps of the lines that are not complete. */
  openSince(): string[];
}

const NEWLINE = 0x0a;
const SPACE = 0x20;
const FLAGS = {
  1: { whole: flagOf('STDOUT', 'PROGRAM'), continues: flagOf('STDOUT', 'PROGRAM', true) },
  2: { whole: flagOf('STDERR', 'PROGRAM'), continues: flagOf('STDERR', 'PROGRAM', true) },
};
/**
 * The engine cuts a longer line into frames with this many bytes of text. All of them carry the
 * first frame's timestamp.
 */
const ENGINE_PIECE_BYTES = 16 * 1024;
const TIMESTAMP_BYTES = 30; // 2026-11-24T12:24:27.254500310Z
const TIMESTAMP_BYTES_MAX = 40;

/**
 * Turns the engine's frames into lines. A frame is a timestamp and a line, or a piece of one. When
 * its text has no newline at the end and the size of a piece, the line continues in the stream's
 * next frame. Otherwise the line is complete: the log driver `local` of engine 20.10 drops the
 * newline of a last piece, and the last line may have none.
 *
 * A line over LINE_BYTES_MAX becomes pieces that are marked as continued. Cuts fall between UTF-8
 * characters. Only the printed bytes decide where lines are cut, so every reading of the same log
 * gives the same lines the same numbers.
 */
export function createLineCutter(onLine: OnLine): LineCutter {
  const open = { 1: createOpenLine(1, onLine), 2: createOpenLine(2, onLine) };

  return {
    onFrame(stream, bytes, start, end) {
      const usual = start + TIMESTAMP_BYTES;
      const space = bytes[usual] === SPACE ? usual : bytes.indexOf(SPACE, start);
      if (space === -1 || space >= end || space - start > TIMESTAMP_BYTES_MAX)
        throw new Error(`Expected a timestamp, got ${JSON.stringify(bytes.toString('latin1', start, start + 40))}.`);
      const line = open[stream];
      let text = space + 1;
      while (text < end || end === space + 1) {
        const newline = bytes.indexOf(NEWLINE, text);
        const stop = newline === -1 || newline >= end ? end : newline;
        const goesOn = stop === end && end - text >= ENGINE_PIECE_BYTES;
        const isWhole = text === space + 1 && stop === end - 1 && !line.isOpen && stop - text <= LINE_BYTES_MAX;
        // Nearly every frame takes this path, which copies nothing.
        if (isWhole) return onLine(FLAGS[stream].whole, bytes, start, end);
        line.add(bytes, { start, space }, bytes, text, stop);
        if (!goesOn) line.close();
        text = stop + 1;
        if (stop >= end - 1) return;
      }
    },

    end() {
      for (const stream of [open[1], open[2]]) if (stream.isOpen) stream.close();
    },

    openSince: () => [open[1], open[2]].flatMap((line) => (line.isOpen ? [line.timestamp()] : [])),
  };
}

export interface TextCutter {
  /** Takes what a stream has printed next, without a timestamp, cut anywhere. */
  onFrame: OnFrame;
  /** The timestamp of the lines that begin from now on. */
  setTime(time: Date): void;
  /** Call it at the end of the output. A last line without a newline is a line too. */
  end(): void;
}

/** Makes of the container's output the same lines as `createLineCutter` makes of its log. */
export function createTextCutter(onLine: OnLine): TextCutter {
  const open = { 1: createOpenLine(1, onLine), 2: createOpenLine(2, onLine) };
  const head = TIMESTAMP_BYTES + 1; // the timestamp and a space
  const whole = Buffer.alloc(head + LINE_BYTES_MAX + 1);

  return {
    onFrame(stream, bytes, start, end) {
      const line = open[stream];
      for (let at = start; at < end; ) {
        const newline = bytes.indexOf(NEWLINE, at);
        const stop = newline === -1 || newline >= end ? end : newline;
        if (stop < end && !line.isOpen && stop - at <= LINE_BYTES_MAX) {
          bytes.copy(whole, head, at, stop + 1);
          onLine(FLAGS[stream].whole, whole, 0, head + stop + 1 - at);
        } else {
          line.add(whole, { start: 0, space: head - 1 }, bytes, at, stop);
          if (stop < end) line.close();
        }
        at = stop + 1;
      }
    },

    setTime(time) {
      whole.write(`${time.toISOString().slice(0, -1)}000000Z `, 'latin1');
    },

    end() {
      for (const stream of [open[1], open[2]]) if (stream.isOpen) stream.close();
    },
  };
}

/** A line that is joined from pieces. It holds at most LINE_BYTES_MAX bytes of text. */
function createOpenLine(stream: StreamType, onLine: OnLine) {
  const flags = FLAGS[stream];
  let buffer = Buffer.alloc(0); // timestamp, space, text, and room for a newline
  let textStart = 0; // 0: no line is open
  let length = 0;

  function emit(flag: number, until: number): void {
    const rest = Buffer.from(buffer.subarray(until, length));
    buffer[until] = NEWLINE;
    onLine(flag, buffer, 0, until + 1);
    rest.copy(buffer, textStart);
    length = textStart + rest.length;
  }

  return {
    get isOpen() {
      return textStart > 0;
    },

    timestamp: () => buffer.toString('latin1', 0, textStart - 1),

    /** `head` says where in `stamped` the timestamp and its space stand. */
    add(stamped: Buffer, head: { start: number; space: number }, bytes: Buffer, from: number, to: number) {
      if (textStart === 0) {
        textStart = head.space + 1 - head.start;
        length = textStart;
        buffer = Buffer.allocUnsafe(textStart + LINE_BYTES_MAX + 1);
        stamped.copy(buffer, 0, head.start, head.space + 1);
      }
      for (let at = from; at < to; ) {
        const room = textStart + LINE_BYTES_MAX - length;
        // Cuts only when more text follows.
        if (room === 0) emit(flags.continues, characterEnd(buffer, textStart, length));
        const copied = bytes.copy(buffer, length, at, Math.min(to, at + textStart + LINE_BYTES_MAX - length));
        at += copied;
        length += copied;
      }
    },

    close() {
      emit(flags.whole, length);
      textStart = 0;
      buffer = Buffer.alloc(0);
    },
  };
}

/** The last place up to `end` that cuts no UTF-8 character, or `end` if the bytes are not UTF-8. */
function characterEnd(bytes: Buffer, start: number, end: number): number {
  for (let at = end - 1; at >= Math.max(start, end - 4); at--) {
    const byte = bytes[at] ?? 0;
    if ((byte & 0xc0) === 0x80) continue; // in the middle of a character
    const characterBytes = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return at + characterBytes > end && at > start ? at : end;
  }
  return end;
}
