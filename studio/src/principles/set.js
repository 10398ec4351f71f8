// The principle set that is being edited: its cards, what was last saved, and the edits between.
import { computed, signal } from "@preact/signals";
import { keep, load } from "../state/storage.js";
import { History } from "./history.js";
import { changesBetween, isTurnable, sameSet } from "./changes.js";

/**
 * The set as it was last loaded or saved: `{ name, title, source, hash, principles, unread }`. `unread` holds the
 * mistakes of a file that could not be read, whose principles are therefore not on the cards.
 */
export const saved = signal({ name: null, title: "", source: null, hash: null, principles: [], unread: [] });
/** The principles on the cards. `key` tells cards apart, even if two share an id by mistake. */
export const principles = signal([]);

const history = new History();
/** The history is no signal; this one changes with it. */
const revision = signal(0);
let nextKey = 1;

export const isEdited = computed(() => !sameSet(saved.value.principles, principles.value));
export const changes = computed(() => changesBetween(saved.value.principles, principles.value));
export const canUndo = computed(() => revision.value >= 0 && history.canUndo);
export const canRedo = computed(() => revision.value >= 0 && history.canRedo);

const withKeys = (list) => list.map((principle) => ({ turned: false, ...principle, key: nextKey++ }));

function replace(next, tag = null) {
  history.record(principles.value, tag);
  principles.value = next;
  revision.value += 1;
}

/** What is remembered of an answer of the server. */
function savedAs(entry, cards) {
  const { name, title, source, hash, mistakes = [] } = entry;
  const unread = cards.length === 0 ? mistakes.filter((mistake) => mistake.severity === "error") : [];
  return { name, title, source, hash, principles: cards, unread };
}

/** Shows a set that came from the server. */
export function openSet(entry) {
  const cards = withKeys(entry.principles);
  history.clear();
  revision.value += 1;
  saved.value = savedAs(entry, cards);
  principles.value = cards;
}

/** Shows the file's content as an edit that can be undone. Used when the file has changed on disk. */
export function reloadSet(entry) {
  const cards = withKeys(entry.principles);
  saved.value = savedAs(entry, cards);
  replace(cards);
}

/** Takes note that the cards have been saved as `entry`. The undo history stays. */
export function markSaved(entry) {
  saved.value = savedAs(entry, principles.value);
}

/** Starts an empty set that has no file yet. */
export function newSet() {
  openSet({ name: null, title: "", source: null, hash: null, principles: [] });
  addPrinciple();
}

export function undo() {
  principles.value = history.undo(principles.value);
  revision.value += 1;
}

export function redo() {
  principles.value = history.redo(principles.value);
  revision.value += 1;
}

/** Goes back to the last saved version, as an edit that can be undone. */
export function revert() {
  replace(saved.value.principles);
}

export function change(key, fields) {
  const tag = `${key} ${Object.keys(fields).join(" ")}`;
  const next = principles.value.map((p) => (p.key === key ? { ...p, ...fields } : p));
  replace(next, tag);
}

/** Edits the text that the card shows, which is the negative if the principle is turned. */
export function changeText(key, text) {
  const turned = principles.value.find((p) => p.key === key)?.turned;
  change(key, turned ? { negative: text } : { definition: text });
}

export function turn(key) {
  const principle = principles.value.find((p) => p.key === key);
  if (principle && isTurnable(principle)) change(key, { turned: !principle.turned });
}

/** Adds an empty principle at the end and returns its key. */
export function addPrinciple() {
  const prefix = saved.value.name ?? "mine";
  const taken = new Set(principles.value.map((p) => p.id));
  let n = principles.value.length + 1;
  while (taken.has(`${prefix}-${n}`)) n += 1;
  const [card] = withKeys([
    { id: `${prefix}-${n}`, name: `Principle ${n}`, definition: "", negative: null, weight: 1, on: true },
  ]);
  replace([...principles.value, card]);
  return card.key;
}

export function removePrinciple(key) {
  replace(principles.value.filter((p) => p.key !== key));
}

/** Moves a card so that it ends at `index`. Returns whether anything moved. */
export function move(key, index) {
  const from = principles.value.findIndex((p) => p.key === key);
  const to = Math.max(0, Math.min(index, principles.value.length - 1));
  if (from < 0 || from === to) return false;
  const next = [...principles.value];
  const [card] = next.splice(from, 1);
  next.splice(to, 0, card);
  replace(next);
  return true;
}

/** Restores the set of the last visit. Returns whether there was one. */
export function restoreSet() {
  const entry = load("set");
  if (entry) {
    nextKey = 1 + Math.max(0, ...[...entry.principles, ...entry.saved.principles].map((p) => p.key));
    saved.value = entry.saved;
    principles.value = entry.principles;
  }
  keep("set", () => ({ saved: saved.value, principles: principles.value }));
  return entry !== null;
}
