// One reply from the server, as a stream of updates.
import { ApiError, send } from "../api/http.js";
import { readEvents } from "../api/events.js";

/** Text is shown at most this often; a fast model sends far more chunks than a screen can show. */
const INTERVAL_MS = 40;

/**
 * Keeps seeds exact. Those of candidates have 64 bits, more than a number holds, so large ones become
 * text where the browser tells the source of a value.
 */
function exactSeed(key, value, context) {
  return key === "seed" && !Number.isSafeInteger(value) ? (context?.source ?? value) : value;
}

/** The server reports only what is done: after the last candidate it is at the first score. */
function stageOf({ stage, done, of }) {
  return stage === "generating" && done === of ? { stage: "scoring", done: 0, of } : { stage, done, of };
}

/**
 * Asks for a reply and calls `update` with the fields of the reply that have changed: `text`,
 * `reasoning`, `progress`, `parr`, `usage`. Returns when the reply is complete.
 *
 * @throws {ApiError} if the server refuses or fails
 * @throws {DOMException} an `AbortError` if `signal` fires
 */
export async function generate(body, { signal, update }) {
  const response = await send("POST", "v1/chat/completions", {
    body: { ...body, stream: true, stream_options: { include_usage: true }, parr_progress: true },
    signal,
  });
  const reply = { text: "", reasoning: "" };
  let shownAt = 0;
  const candidates = body.best_of ?? 1;
  if (candidates > 1) update({ progress: { stage: "generating", done: 0, of: candidates } });
  for await (const { data } of readEvents(response)) {
    if (data === "[DONE]") break;
    const chunk = JSON.parse(data, exactSeed);
    if (chunk.error) throw new ApiError(500, chunk.error.message, chunk.error.code);
    if (chunk.object === "parr.progress") {
      update({ progress: stageOf(chunk) });
      continue;
    }
    if (chunk.parr) update({ parr: chunk.parr });
    if (chunk.usage) update({ usage: chunk.usage });
    const choice = chunk.choices?.[0];
    reply.text += choice?.delta?.content ?? "";
    reply.reasoning += choice?.delta?.reasoning_content ?? "";
    if (choice?.finish_reason) update({ finish: choice.finish_reason });
    if ((reply.text || reply.reasoning) && performance.now() - shownAt >= INTERVAL_MS) {
      shownAt = performance.now();
      update({ ...reply, progress: null });
    }
  }
  update({ ...reply, progress: null });
}
