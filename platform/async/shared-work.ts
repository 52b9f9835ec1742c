/**
 * Does the same work once for all who ask for it while it is under way, and in the turn of the
 * event loop in which it ends. It keeps nothing longer, so nobody is given what is out of date.
 */
export class SharedWork<T> {
  readonly #underWay = new WeakMap<object, Map<string, Promise<T>>>();

  /** `key` tells apart what is made of `about`. */
  run(about: object, key: string, work: () => Promise<T>): Promise<T> {
    const ofObject = this.#underWay.get(about) ?? new Map<string, Promise<T>>();
    const known = ofObject.get(key);
    if (known) return known;
    this.#underWay.set(about, ofObject);
    const made = work();
    ofObject.set(key, made);
    const forget = () => setImmediate(() => ofObject.delete(key));
    made.then(forget, forget);
    return made;
  }
}
