/**
 * The engine answers long requests with one JSON document per line. A line longer than `bytesMax`
 * does not come from an engine.
 */
export async function* jsonLines(stream: AsyncIterable<Buffer>, bytesMax: number): AsyncGenerator<string> {
  let rest = '';
  const decoder = new TextDecoder();
  for await (const part of stream) {
    rest += decoder.decode(part, { stream: true });
    const lines = rest.split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > bytesMax) throw new Error('a line of its progress is too long to be one');
    for (const line of lines) if (line.trim() !== '') yield line;
  }
  if (rest.trim() !== '') yield rest;
}
