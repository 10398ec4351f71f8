// What survives a reload. Each part has its own entry, so that a large conversation is not
// rewritten when a principle changes.
import { effect } from "@preact/signals";

const PREFIX = "parr-studio-";
/** Raised when the shape of an entry changes; entries of other versions are ignored. */
const VERSION = 1;
const DELAY_MS = 250;

export function load(name) {
  try {
    const entry = JSON.parse(localStorage.getItem(PREFIX + name));
    return entry?.version === VERSION ? entry.value : null;
  } catch {
    return null; // damaged or blocked storage: start afresh
  }
}

export function store(name, value) {
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify({ version: VERSION, value }));
  } catch {
    // Full or blocked storage costs the survival of a reload, nothing else.
  }
}

/** Stores `read()` under `name` whenever the signals that it reads have changed. */
export function keep(name, read) {
  let timer = null;
  let latest = null;
  const flush = () => {
    if (timer === null) return;
    clearTimeout(timer);
    timer = null;
    store(name, latest);
  };
  effect(() => {
    latest = read();
    timer ??= setTimeout(flush, DELAY_MS);
  });
  addEventListener("pagehide", flush);
}
