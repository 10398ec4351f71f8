// The API key: asked for when the server answers 401, and kept for the life of the tab only.
import { signal } from "@preact/signals";

const STORAGE = "parr-studio-key";

/** Why the key dialog is open: null, "missing" or "refused". */
export const keyWanted = signal(null);

let waiting = [];

export const keyFor = {
  current() {
    return sessionStorage.getItem(STORAGE);
  },

  /** Resolves with another key than the one that the server has just refused. */
  next(refused) {
    const current = keyFor.current();
    if (current && current !== refused) return Promise.resolve(current);
    keyWanted.value = refused ? "refused" : "missing";
    return new Promise((resolve) => waiting.push(resolve));
  },
};

/** Stores the key that the user has entered and lets the waiting requests go on. */
export function giveKey(key) {
  sessionStorage.setItem(STORAGE, key);
  keyWanted.value = null;
  const resolvers = waiting;
  waiting = [];
  for (const resolve of resolvers) resolve(key);
}
