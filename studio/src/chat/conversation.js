// The conversation: questions with their replies, and everything that adds to or cuts it.
//
// An exchange is one question with one reply, or with two when the same question is answered before
// and after an edit of the principles. Only the kept reply is read in later turns.
import { computed, signal } from "@preact/signals";
import { post } from "../api/http.js";
import { announce } from "../state/notices.js";
import { adapterOf, models, server } from "../state/server.js";
import { keep, load } from "../state/storage.js";
import { setForRequest } from "../principles/check.js";
import { askedText, changesBetween } from "../principles/changes.js";
import { principles, saved, isEdited } from "../principles/set.js";
import { generate } from "./generate.js";
import { candidateCount, chosenReward, drawSeed, settings } from "./settings.js";

export const exchanges = signal([]);
/** Ends the replies that are being written; null while nothing is. */
const stopper = signal(null);
export const isGenerating = computed(() => stopper.value !== null);

/** The chosen model, or the base if that one is gone. */
export const model = computed(() => {
  const chosen = models.value.find((entry) => entry.id === settings.value.model);
  return chosen ?? models.value.find((entry) => !adapterOf(entry)) ?? models.value[0] ?? null;
});

export function startConversation() {
  const stored = load("conversation") ?? [];
  exchanges.value = stored.map((exchange) => ({
    ...exchange,
    replies: mapReplies(exchange.replies, (reply) => (isOpen(reply) ? { ...reply, status: "stopped" } : reply)),
  }));
  keep("conversation", () => exchanges.value);
}

export const isOpen = (reply) => reply.status === "writing";
const mapReplies = (replies, f) => Object.fromEntries(Object.entries(replies).map(([side, reply]) => [side, f(reply)]));

/** Sends a question. Without `at` it follows the conversation; with it, everything from there is cut. */
export async function ask(text, at = exchanges.value.length) {
  if (isGenerating.value || text.trim() === "" || !model.value) return;
  const earlier = exchanges.value.slice(0, at);
  const exchange = newExchange(text.trim());
  exchanges.value = [...earlier, exchange];
  const controller = new AbortController();
  stopper.value = controller;
  try {
    await writeReplies(exchange, messagesOf(earlier, exchange.question), controller.signal);
  } finally {
    stopper.value = null;
  }
}

export const regenerate = (at) => ask(exchanges.value[at].question, at);
export const stop = () => stopper.value?.abort();

export function clearConversation() {
  stop();
  exchanges.value = [];
}

/** Chooses which reply of a comparison later turns read. */
export const keepReply = (id, side) => updateExchange(id, () => ({ kept: side }));

function newExchange(question) {
  const { compare, before, seed, tell } = settings.value;
  const blank = { text: "", reasoning: "", status: "writing", progress: null, error: null, parr: null };
  const common = { id: `${Date.now().toString(36)}-${drawSeed().toString(36)}`, question, kept: "after", seed: seed ?? drawSeed(), tell };
  const name = saved.value.name ?? "unsaved set";
  const after = { ...blank, model: model.value.id, under: isEdited.value ? `${name}, edited` : name };
  if (!compare) return { ...common, replies: { after }, comparison: null };
  const on = principles.value.filter((p) => p.on);
  const comparison = {
    before,
    changes: before === "none" ? changesBetween([], on) : changesBetween(saved.value.principles, principles.value),
    principles: on.map((p) => ({ id: p.id, name: p.name, definition: askedText(p) })),
    scores: null,
  };
  const left = { ...blank, model: model.value.id, under: before === "none" ? "no principles" : name };
  return { ...common, replies: { before: left, after }, comparison };
}

/** The messages that the model reads: questions with kept replies, then the new question. */
function messagesOf(earlier, question) {
  const messages = [];
  for (const exchange of earlier) {
    const reply = exchange.replies[exchange.kept];
    if (reply.text === "") continue; // a failed reply would leave a gap in the turns
    messages.push({ role: "user", content: exchange.question }, { role: "assistant", content: reply.text });
  }
  messages.push({ role: "user", content: question });
  return messages;
}

async function writeReplies(exchange, messages, signal) {
  const sides = Object.keys(exchange.replies);
  const write = (side) => writeReply(exchange, side, messages, signal);
  if ((server.value?.slots ?? 1) >= sides.length) {
    await Promise.all(sides.map(write));
  } else {
    for (const side of sides) await write(side);
  }
  if (exchange.comparison && !signal.aborted) await scoreComparison(exchange);
}

async function writeReply(exchange, side, messages, signal) {
  const update = (fields) => updateReply(exchange.id, side, fields);
  if (signal.aborted) return update({ status: "stopped" });
  const started = performance.now();
  try {
    const none = side === "before" && exchange.comparison.before === "none";
    const set = none ? null : await setForRequest(side === "before" ? "saved" : "edited");
    await generate(bodyOf(exchange, messages, set), { signal, update });
    update({ status: "done", seconds: (performance.now() - started) / 1000 });
    announce("Reply complete.");
  } catch (error) {
    if (error.name === "AbortError") update({ status: "stopped", progress: null });
    else update({ status: "failed", progress: null, error: error.message });
  }
}

function bodyOf(exchange, messages, set) {
  const { temperature, maxTokens } = settings.value;
  const body = { model: model.value.id, messages, temperature, max_tokens: maxTokens, seed: exchange.seed };
  if (set === null) return body; // without principles there is nothing to choose by
  const reward = chosenReward.value;
  return { ...body, principles: set, tell: exchange.tell, best_of: candidateCount.value, ...(reward ? { reward } : {}) };
}

/** Scores both replies of a comparison under the edited set, if the server has a reward model. */
async function scoreComparison({ id, question, comparison }) {
  const { before, after } = exchanges.value.find((exchange) => exchange.id === id)?.replies ?? {};
  const reward = chosenReward.value ?? server.value?.reward;
  if (!reward || !before?.text || !after?.text || comparison.principles.length === 0) return;
  const setScores = (scores) => updateExchange(id, (exchange) => ({ comparison: { ...exchange.comparison, scores } }));
  setScores({ status: "scoring" });
  try {
    const set = await setForRequest("edited");
    const answer = await post("v1/score", { prompt: question, replies: [before.text, after.text], principles: set, reward });
    setScores({
      status: "done",
      reward: answer.reward,
      total: answer.scores.map((entry) => entry.score),
      rows: answer.principles.map((principle, index) => ({
        id: principle.id,
        before: answer.scores[0].by_principle[index],
        after: answer.scores[1].by_principle[index],
      })),
    });
  } catch (error) {
    setScores({ status: "failed", error: error.message });
  }
}

function updateExchange(id, change) {
  exchanges.value = exchanges.value.map((exchange) => (exchange.id === id ? { ...exchange, ...change(exchange) } : exchange));
}

function updateReply(id, side, fields) {
  updateExchange(id, ({ replies }) => ({ replies: { ...replies, [side]: { ...replies[side], ...fields } } }));
}
