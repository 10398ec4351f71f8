// Sets on the server: listing, opening, saving, and what to do when a file has changed.
import { signal } from "@preact/signals";
import { get, put } from "../api/http.js";
import { notify } from "../state/notices.js";
import { toWire } from "./changes.js";
import { isEdited, markSaved, newSet, openSet, principles, reloadSet, restoreSet, saved } from "./set.js";

/** Entries of /v1/principles. */
export const sets = signal([]);
/** The dialog that is open: null, `{ kind: "save-as" }`, `{ kind: "conflict" }` or `{ kind: "discard", name }`. */
export const question = signal(null);
export const isSaving = signal(false);

const pathOf = (name) => `v1/principles/${encodeURIComponent(name)}`;
/** The server's rule for names of sets. */
export const NAME_PATTERN = /^[a-z0-9]+(-[a-z0-9]+)*$/;

export async function startSets() {
  const restored = restoreSet();
  await reloadSets();
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") refresh().catch(() => {}); // a missed refresh harms nothing
  });
  if (restored) return refresh();
  const first = sets.value.find((set) => set.source === "file") ?? sets.value.find((set) => set.name === "small");
  if (first) await open(first.name);
  else newSet();
}

export async function reloadSets() {
  sets.value = (await get("v1/principles")).data;
}

/**
 * Reads the set again if its file may have been edited elsewhere. Edits on the cards are never
 * replaced: saving them will find the conflict.
 */
async function refresh() {
  const { name, hash } = saved.value;
  if (!name || isEdited.value) return;
  const entry = await get(pathOf(name));
  if (entry.hash !== hash && saved.value.name === name && !isEdited.value) openSet(entry);
}

export async function open(name) {
  if (name === null) newSet();
  else openSet(await get(pathOf(name)));
}

/** Saves under the set's own name, or asks for a name if there is none or it belongs to Parr. */
export async function save() {
  const { name, source, unread } = saved.value;
  // A file with mistakes holds more than the cards show, so it is not replaced in passing.
  if (!name || source === "shipped" || unread.length > 0) {
    question.value = { kind: "save-as" };
    return;
  }
  await write(name, saved.value.hash);
}

/** Saves under another name. Throws the server's refusal, for the dialog to show. */
export async function saveAs(name, title) {
  const cards = principles.value;
  const body = { principles: cards.map(toWire), title: title || name };
  markSaved(await put(pathOf(name), body));
  question.value = null;
  notify(`Saved as ${name}.`);
  await reloadSets();
}

async function write(name, hash) {
  isSaving.value = true;
  try {
    const body = { principles: principles.value.map(toWire), ...(hash ? { hash } : {}) };
    markSaved(await put(pathOf(name), body));
    question.value = null;
    notify(`Saved ${name}.`);
    await reloadSets();
  } catch (error) {
    if (error.status === 409) question.value = { kind: "conflict" };
    else if (error.status === 403) question.value = { kind: "save-as" };
    else notify(`Not saved. ${error.message}`, "error");
  } finally {
    isSaving.value = false;
  }
}

/** After a conflict: the file wins. The edits can be brought back with undo. */
export async function reloadFromDisk() {
  reloadSet(await get(pathOf(saved.value.name)));
  question.value = null;
  notify("Loaded the file. Undo brings your edits back.");
}

/** After a conflict: the edits win. */
export const overwrite = () => write(saved.value.name, null);
