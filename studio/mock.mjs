// A mock of `parr serve` for developing and testing Studio without a model.
//
//   node mock.mjs [--port 8017] [--no-model] [--api-key KEY] [--delay MS] [--no-reward]
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import path from "node:path";
import { pieces, reply, score } from "./mock/model.mjs";
import { check, entryOf, hashOf, initialSets, readText } from "./mock/principles.mjs";
import { Runs } from "./mock/runs.mjs";

const root = path.dirname(fileURLToPath(import.meta.url));
const TYPES = { "index.html": "text/html; charset=utf-8", "studio.js": "text/javascript; charset=utf-8", "studio.css": "text/css; charset=utf-8" };
/** What the real server should send too: nothing inline, nothing from elsewhere. */
export const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Seeds of further candidates have 64 bits, more than a number in JavaScript holds; here they are text until they are sent. */
const FIRST_DERIVED = "1777777777777777777";
const seedsAsNumbers = (json) => json.replace(/"seed":"(\d+)"/g, '"seed":$1');

class Refusal extends Error {
  constructor(status, message, code = null, headers = {}) {
    super(message);
    Object.assign(this, { status, code, headers });
  }
}

/** Makes a server that has not begun to listen. `mock` on it lets tests look inside and interfere. */
export function createMock({ model = "smollm2", reward = "smollm2-principles", apiKey = null, delayMs = 12, stepMs = 260, slots = 2 } = {}) {
  const sets = initialSets();
  const state = { model, adapters: ["harbour"], cached: new Set(model ? [model] : []), requests: [], failNext: null, busyNext: 0 };
  const runs = new Runs({ stepMs, onAdapter: (run) => state.adapters.push(run.name) });

  function principlesOf(value) {
    if (value === undefined || value === null) return [];
    const set = sets.get(value);
    if (!set && /^[a-z0-9-]+$/.test(value)) throw new Refusal(404, `there is no set of principles named "${value}"`);
    return (set?.principles ?? readText(value)).filter((p) => p.on);
  }

  const catalog = () =>
    [
      { name: "smollm2", parameters: "135M", licence: "Apache-2.0", terms: null },
      { name: "qwen3-0.6b", parameters: "0.6B", licence: "Apache-2.0", terms: null },
      { name: "gemma3-1b", parameters: "1B", licence: "Gemma", terms: "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms" },
      { name: "llama3.2-1b", parameters: "1.2B", licence: "Llama 3.2", terms: "Built with Llama: the Llama 3.2 Community License applies (llama.com/llama3_2/license)" },
    ].map((entry) => ({ ...entry, cached: state.cached.has(entry.name) }));

  const modelEntry = (id, adapter) => ({ id, object: "model", created: 0, owned_by: "parr", parr: { adapter, context: 2048, license: "Apache-2.0" } });

  const routes = [
    ["GET", /^\/v1\/server$/, () => ({ version: "0.1.0", model: state.model, adapter: "llvmpipe (LLVM 15.0.6, 256 bits)", context: 2048, slots, reward, rewards: reward ? [reward, "smollm2-style"] : [], api_key: apiKey !== null })],
    ["GET", /^\/v1\/models$/, () => ({ object: "list", data: state.model ? [modelEntry(state.model, null), ...state.adapters.map((name) => modelEntry(`${state.model}:${name}`, name))] : [] })],
    ["GET", /^\/v1\/principles$/, () => ({ data: [...sets.values()].map(({ name, title, description, source, principles }) => ({ name, title, description, source, n: principles.length })) })],
    ["GET", /^\/v1\/principles\/([^/]+)$/, ({ params: [name] }) => entryOf(sets.get(name) ?? refuse(404, `there is no set named "${name}"`))],
    ["POST", /^\/v1\/principles\/check$/, ({ body }) => check(body.principles ?? readText(body.text))],
    ["PUT", /^\/v1\/principles\/([^/]+)$/, putSet],
    ["POST", /^\/v1\/score$/, ({ body }) => {
      const principles = Array.isArray(body.principles) ? body.principles : principlesOf(body.principles);
      return { reward, principles: principles.map(({ id, definition, weight }) => ({ id, definition, weight })), scores: body.replies.map((text) => score(text, principles)) };
    }],
    ["POST", /^\/v1\/chat\/completions$/, chat],
    ["GET", /^\/v1\/runs$/, () => ({ data: runs.list() })],
    ["POST", /^\/v1\/runs$/, ({ body }) => runs.start(body, principlesOf(body.principles))],
    ["GET", /^\/v1\/runs\/([^/]+)\/events$/, runEvents],
    ["POST", /^\/v1\/runs\/([^/]+)\/(pause|resume|cancel)$/, ({ params: [id, action] }) => runs.control(runs.get(id) ?? refuse(404, "no such run"), action)],
    ["GET", /^\/v1\/catalog$/, () => ({ data: catalog(), current: state.model })],
    ["POST", /^\/v1\/catalog\/([^/]+)\/pull$/, pull],
    ["POST", /^\/v1\/catalog\/([^/]+)\/open$/, async ({ params: [name] }) => {
      await sleep(delayMs * 20);
      state.model = name;
      return { id: name };
    }],
  ];

  function refuse(...args) {
    throw new Refusal(...args);
  }

  function putSet({ params: [name], body }) {
    const old = sets.get(name);
    if (old?.source === "shipped") refuse(403, `"${name}" comes with Parr: save under another name`);
    if (old && body.hash && body.hash !== hashOf(old)) refuse(409, `${name}.toml has changed on disk`, "changed_on_disk");
    const set = { name, source: "file", title: body.title ?? old?.title ?? name, description: "", principles: body.principles ?? readText(body.text) };
    const { ok, mistakes } = check(set.principles);
    if (!ok) refuse(422, mistakes[0].message);
    sets.set(name, set);
    return entryOf(set);
  }

  async function chat({ body, response, closed }) {
    if (state.busyNext > 0) {
      state.busyNext -= 1;
      refuse(429, "all slots are taken", null, { "Retry-After": "1" });
    }
    if (state.failNext) {
      const message = state.failNext;
      state.failNext = null;
      refuse(500, message);
    }
    const principles = principlesOf(body.principles);
    const question = body.messages.at(-1).content;
    const seed = body.seed ?? 1;
    const n = body.best_of ?? 1;
    const event = (data) => response.write(`data: ${typeof data === "string" ? data : seedsAsNumbers(JSON.stringify(data))}\n\n`);
    const chunk = (delta, rest = {}) => event({ id: "chat-1", object: "chat.completion.chunk", created: 0, model: body.model, choices: [{ index: 0, delta, finish_reason: null }], ...rest });
    startEvents(response);
    chunk({ role: "assistant", content: "" });
    if (/think/i.test(question)) {
      for (const piece of pieces("The user wants me to think. I weigh the sides before I answer.")) {
        if (closed()) return;
        chunk({ reasoning_content: piece });
        await sleep(delayMs);
      }
    }
    const texts = [];
    for (const stage of n > 1 ? ["generating", "scoring"] : []) {
      for (let done = 1; done <= n; done += 1) {
        await sleep(delayMs * (stage === "generating" ? 14 : 6));
        if (closed()) return;
        if (body.parr_progress) event({ object: "parr.progress", stage, done, of: n });
      }
    }
    for (let i = 0; i < n; i += 1) texts.push({ text: reply(question, principles, seed + i * 7919), seed: i === 0 ? seed : `${FIRST_DERIVED}${i % 10}` });
    const candidates = texts.map((candidate) => ({ ...candidate, ...score(candidate.text, principles), chosen: false }));
    const best = candidates.reduce((a, b) => (b.score > a.score ? b : a));
    best.chosen = true;
    if (n > 1) {
      chunk({ content: best.text });
    } else {
      for (const piece of pieces(best.text)) {
        if (closed()) return;
        chunk({ content: piece });
        await sleep(delayMs);
      }
    }
    // As the server: a reward model reads a reply only if there is a choice, or if the request names one.
    const withScores = reward && principles.length > 0 && (n > 1 || body.reward);
    event({
      id: "chat-1",
      object: "chat.completion.chunk",
      choices: [{ index: 0, delta: {}, finish_reason: "stop" }],
      usage: { prompt_tokens: 40, completion_tokens: Math.round(best.text.length / 4), total_tokens: 80 },
      ...(withScores ? { parr: { seed, candidates, principles: principles.map(({ id, name, definition, weight }) => ({ id, name, definition, weight })) } } : {}),
    });
    event("[DONE]");
    response.end();
  }

  function runEvents({ params: [id], request, response }) {
    const run = runs.get(id) ?? refuse(404, "no such run");
    startEvents(response);
    const write = ({ id: eventId, event, data }) => {
      response.write(`id: ${eventId}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
      if (event === "status" && ["finished", "failed", "cancelled"].includes(data.status)) response.end();
    };
    const after = Number(request.headers["last-event-id"] ?? 0);
    for (const entry of run.events.slice(after)) write(entry);
    run.listeners.on("event", write);
    response.on("close", () => run.listeners.off("event", write));
  }

  async function pull({ params: [name], response, closed }) {
    startEvents(response);
    const of = 98_400_000;
    for (let part = 0; part <= 20 && !closed(); part += 1) {
      response.write(`event: progress\ndata: ${JSON.stringify({ done: (of * part) / 20, of })}\n\n`);
      await sleep(delayMs * 6);
    }
    state.cached.add(name);
    response.end(`event: done\ndata: ${JSON.stringify({ path: `models/${name}` })}\n\n`);
  }

  const server = createServer(async (request, response) => {
    const url = new URL(request.url, "http://mock");
    let gone = false;
    response.on("close", () => (gone = true));
    try {
      const name = url.pathname === "/" ? "index.html" : url.pathname.slice(1);
      if (request.method === "GET" && TYPES[name]) {
        response.writeHead(200, { "Content-Type": TYPES[name], "Content-Security-Policy": CSP, "X-Content-Type-Options": "nosniff" });
        return response.end(await readFile(path.join(root, "dist", name)));
      }
      if (apiKey !== null && request.headers.authorization !== `Bearer ${apiKey}`) refuse(401, "an API key is needed");
      for (const [method, pattern, handle] of routes) {
        const match = url.pathname.match(pattern);
        if (!match || method !== request.method) continue;
        const body = await readBody(request);
        state.requests.push({ method, path: url.pathname, body });
        const answer = await handle({ params: match.slice(1).map(decodeURIComponent), body, request, response, closed: () => gone });
        if (!response.headersSent) send(response, method === "POST" && url.pathname === "/v1/runs" ? 201 : 200, answer);
        return;
      }
      refuse(404, `no such path: ${url.pathname}`);
    } catch (error) {
      if (response.headersSent) return response.destroy(error);
      const type = error.status === 401 ? "authentication_error" : error.status >= 500 ? "server_error" : "invalid_request_error";
      send(response, error.status ?? 500, { error: { message: error.message, type, param: null, code: error.code ?? null } }, error.headers);
    }
  });
  server.on("close", () => runs.stopAll());
  server.mock = { state, sets, runs };
  return server;
}

function startEvents(response) {
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  response.write(": stream\n\n");
}

function send(response, status, body, headers = {}) {
  response.writeHead(status, { "Content-Type": "application/json", ...headers });
  response.end(JSON.stringify(body));
}

async function readBody(request) {
  let text = "";
  for await (const part of request) text += part;
  return text === "" ? undefined : JSON.parse(text);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      port: { type: "string", default: "8017" },
      "no-model": { type: "boolean", default: false },
      "no-reward": { type: "boolean", default: false },
      "api-key": { type: "string" },
      delay: { type: "string", default: "30" },
    },
  });
  const server = createMock({
    model: values["no-model"] ? null : "smollm2",
    reward: values["no-reward"] ? null : "smollm2-principles",
    apiKey: values["api-key"] ?? null,
    delayMs: Number(values.delay),
    stepMs: 1000,
  });
  server.listen(Number(values.port), "127.0.0.1", () => console.log(`http://127.0.0.1:${values.port}`));
}
