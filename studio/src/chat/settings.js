// How replies are sampled and chosen.
import { computed, signal } from "@preact/signals";
import { server } from "../state/server.js";
import { keep, load } from "../state/storage.js";

const DEFAULTS = {
  model: null, // null: the base
  temperature: 0.8,
  maxTokens: 256,
  seed: null, // null: another one for each question
  bestOf: 1,
  tell: "system",
  reward: null, // null: the server's
  compare: false,
  before: "saved", // what stands on the left of a comparison: "saved" or "none"
};

export const settings = signal({ ...DEFAULTS, ...load("settings") });

// The settings of the last visit can name what this server does not have.
const rewards = computed(() => server.value?.rewards ?? []);
/** The reward model to ask for, or null for the server's own. */
export const chosenReward = computed(() => (rewards.value.includes(settings.value.reward) ? settings.value.reward : null));
/** The n of best of n: without a reward model there is nothing to choose by. */
export const candidateCount = computed(() => (rewards.value.length > 0 ? settings.value.bestOf : 1));

export function set(fields) {
  settings.value = { ...settings.value, ...fields };
}

export function startSettings() {
  keep("settings", () => settings.value);
}

/** Seeds fit in 31 bits, so that every client can read them exactly. */
export const drawSeed = () => crypto.getRandomValues(new Uint32Array(1))[0] >>> 1;
