// Mistakes in the edited set, and the TOML text under which the server reads it.
import { computed, effect, signal } from "@preact/signals";
import { post } from "../api/http.js";
import { toWire } from "./changes.js";
import { isEdited, principles, saved } from "./set.js";

const DELAY_MS = 350;

/** The answer of the last check, with the cards that it was about. */
const checked = signal({ cards: [], mistakes: [] });
/** Why a check could not be made, or null. */
export const checkError = signal(null);

/** Mistakes by the key of their card. */
export const mistakesByKey = computed(() => {
  const byKey = new Map();
  for (const mistake of checked.value.mistakes) {
    const key = checked.value.cards[mistake.index]?.key;
    if (key !== undefined) byKey.set(key, [...(byKey.get(key) ?? []), mistake]);
  }
  return byKey;
});

/** Mistakes of the set as a whole. */
export const setMistakes = computed(() =>
  checked.value.mistakes.filter((mistake) => checked.value.cards[mistake.index] === undefined),
);

export const hasErrors = computed(() => checked.value.mistakes.some((m) => m.severity === "error"));

export function startChecks() {
  let timer = null;
  effect(() => {
    const cards = principles.value;
    clearTimeout(timer);
    if (cards.length === 0) {
      checked.value = { cards, mistakes: [] };
      return;
    }
    timer = setTimeout(() => check(cards), DELAY_MS);
  });
}

async function check(cards) {
  try {
    const answer = await post("v1/principles/check", { principles: cards.map(toWire) });
    if (principles.value !== cards) return; // edited meanwhile: a later check is on its way
    checked.value = { cards, mistakes: answer.mistakes };
    checkError.value = null;
  } catch (error) {
    checkError.value = error.message;
  }
}

export class MistakenSet extends Error {}

/**
 * What to send as `principles` with a request, or null if nothing is on: the name of the saved set,
 * or the text of the edited one.
 */
export async function setForRequest(which) {
  const named = which === "saved" || !isEdited.value;
  if (named && saved.value.name) return saved.value.principles.some((p) => p.on) ? saved.value.name : null;
  return textOf(which === "saved" ? saved.value.principles : principles.value);
}

async function textOf(cards) {
  const on = cards.filter((p) => p.on);
  if (on.length === 0) return null;
  const answer = await post("v1/principles/check", { principles: on.map(toWire) });
  const error = answer.mistakes.find((mistake) => mistake.severity === "error");
  if (!answer.ok) {
    const name = on[error?.index]?.name;
    throw new MistakenSet(`Repair the principles first. ${name ? `${name}: ` : ""}${error?.message ?? ""}`);
  }
  return answer.text;
}
