/** A result of a subscription as JSON in UTF-8. All who are sent it share its bytes. */
export interface Frame {
  json: Buffer;
  /** The cursor of the result, if the subscription can be resumed after it. */
  id?: string | undefined;
  hasErrors: boolean;
}

/** The way of the results of one subscription to its client. */
export interface Sink {
  /** Whether the connection takes no more for now. */
  readonly isFull: boolean;
  send(frame: Frame): void;
  /** Calls `run` when the connection takes more, or when it is closed. */
  onceDrained(run: () => void): void;
}
