import type { z } from 'zod';
import type { containerFields, heartbeatFields } from './fields.ts';
import type { Pair, PairOrder } from './pairs.ts';
import type { RegistryAuth } from './registry-auth.ts';
import type { GivenSecret, SealedSecret } from './secret.ts';
import type { ClientCertificate } from './tls-schema.ts';

/**
 * What a workflow runs, as the database stores it and workers read it: validated, with defaults
 * left out. The keys are those of the JSON document that `Workflow.payload` gives (snake_case);
 * fields.ts has them all. `S` stands for a secret: sealed in a stored payload, `never` when all are
 * opened.
 */
export type Payload<S = SealedSecret> = HeartbeatPayload<S> | ContainerPayload<S>;

export interface HeartbeatPayload<S = SealedSecret> extends StoredFields<HeartbeatFields, S>, Ordered {
  kind: 'HEARTBEAT';
}

export interface ContainerPayload<S = SealedSecret> extends StoredFields<ContainerFields, S>, Ordered {
  kind: 'CONTAINER';
}

interface Ordered {
  /**
   * Not a key of the document. Absent in payloads of versions before 0.2, and when there are fewer
   * than two names.
   */
  order?: PairOrder | undefined;
}

/** A payload as its author gives it, checked and not yet sealed. */
export type GivenPayload = Payload<GivenSecret>;

export type HeartbeatFields = ReturnType<typeof heartbeatFields>;
export type ContainerFields = ReturnType<typeof containerFields>;

/** A Dockerfile, and the files beside it. */
export type ImageBuild = NonNullable<ContainerPayload['build']>;

type StoredFields<Fields extends Record<string, z.ZodType>, S> = {
  [Key in keyof Fields]?: Stored<z.output<Fields[Key]>, S>;
};

type Stored<Value, S> = Value extends Pair[]
  ? Record<string, string | S>
  : Value extends RegistryAuth<GivenSecret>
    ? RegistryAuth<S>
    : Value extends ClientCertificate<GivenSecret>
      ? ClientCertificate<S>
      : Value;
