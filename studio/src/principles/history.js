// Undo and redo over immutable values.

/** Older steps than this are forgotten. */
const LONGEST = 200;

export class History {
  #past = [];
  #future = [];
  #lastTag = null;
  #lastTime = 0;

  /**
   * Remembers `before`, the value that an edit is about to replace. Edits with the same tag in
   * quick succession, such as the letters of a word, count as one.
   */
  record(before, tag = null, now = Date.now()) {
    const continues = tag !== null && tag === this.#lastTag && now - this.#lastTime < 1200;
    if (!continues) {
      this.#past.push(before);
      if (this.#past.length > LONGEST) this.#past.shift();
    }
    this.#future = [];
    this.#lastTag = tag;
    this.#lastTime = now;
  }

  get canUndo() {
    return this.#past.length > 0;
  }

  get canRedo() {
    return this.#future.length > 0;
  }

  undo(current) {
    return this.#step(this.#past, this.#future, current);
  }

  redo(current) {
    return this.#step(this.#future, this.#past, current);
  }

  clear() {
    this.#past = [];
    this.#future = [];
    this.#lastTag = null;
  }

  #step(from, to, current) {
    if (from.length === 0) return current;
    to.push(current);
    this.#lastTag = null;
    return from.pop();
  }
}
