import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';

const INDEX = 'application/vnd.docker.distribution.manifest.list.v2+json';
const MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';
const CONFIG = 'application/vnd.docker.container.image.v1+json';
const LAYER = 'application/vnd.docker.image.rootfs.diff.tar.gzip';

export interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
}

/** Publishes an image of one layer for any architecture, which no engine needs to run. */
export async function publishImage(
  { port }: { port: number },
  { repository, tag, architecture, layer }: { repository: string; tag: string; architecture: string; layer: Buffer },
): Promise<Descriptor> {
  const at = `http://127.0.0.1:${port}/v2/${repository}`;
  const rootfs = { type: 'layers', diff_ids: [digestOf(layer)] };
  const config = await upload(
    at,
    CONFIG,
    Buffer.from(JSON.stringify({ architecture, os: 'linux', config: {}, rootfs })),
  );
  const packed = await upload(at, LAYER, gzipSync(layer));
  return putManifest(at, tag, MANIFEST, { config, layers: [packed] });
}

/** Publishes an index whose only variant is for `architecture`. */
export async function publishIndex(
  { port }: { port: number },
  {
    repository,
    tag,
    architecture,
    variant,
  }: { repository: string; tag: string; architecture: string; variant: Descriptor },
): Promise<void> {
  const manifests = [{ ...variant, platform: { os: 'linux', architecture } }];
  await putManifest(`http://127.0.0.1:${port}/v2/${repository}`, tag, INDEX, { manifests });
}

async function upload(at: string, mediaType: string, blob: Buffer): Promise<Descriptor> {
  const begun = await fetch(`${at}/blobs/uploads/`, { method: 'POST' });
  const url = new URL(begun.headers.get('location') ?? '', at);
  const digest = digestOf(blob);
  url.searchParams.set('digest', digest);
  const headers = { 'content-type': 'application/octet-stream' };
  await accepted(await fetch(url, { method: 'PUT', headers, body: new Uint8Array(blob) }));
  return { mediaType, digest, size: blob.length };
}

async function putManifest(at: string, tag: string, mediaType: string, content: object): Promise<Descriptor> {
  const body = JSON.stringify({ schemaVersion: 2, mediaType, ...content });
  await accepted(
    await fetch(`${at}/manifests/${tag}`, { method: 'PUT', headers: { 'content-type': mediaType }, body }),
  );
  return { mediaType, digest: digestOf(Buffer.from(body)), size: Buffer.byteLength(body) };
}

async function accepted(answer: Response): Promise<void> {
  if (!answer.ok) throw new Error(`The registry answered ${answer.status}: ${await answer.text()}`);
}

function digestOf(content: Buffer): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`;
}
