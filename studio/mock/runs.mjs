// The mock server's training runs: steps by a timer, with plausible curves.
import { EventEmitter } from "node:events";
import { random, reply } from "./model.mjs";

const FINAL = ["finished", "failed", "cancelled"];

export class Runs {
  #runs = new Map();
  #stepMs;
  #onAdapter;

  constructor({ stepMs, onAdapter }) {
    this.#stepMs = stepMs;
    this.#onAdapter = onAdapter;
  }

  list() {
    return [...this.#runs.values()].map((run) => run.state);
  }

  get(id) {
    return this.#runs.get(id);
  }

  start({ kind, name, minutes, steps }, principles) {
    const id = `${kind}-${this.#runs.size + 1}`;
    const state = {
      id,
      kind,
      name: name ?? id,
      status: "queued",
      step: 0,
      steps: steps ?? 24,
      started: new Date().toISOString(),
      seconds: 0,
      folder: `runs/${id}`,
      error: null,
      adapter: null,
      minutes: steps ? null : minutes,
    };
    const run = { state, events: [], listeners: new EventEmitter(), timer: null, principles, draw: random(this.#runs.size + 5) };
    run.listeners.setMaxListeners(0);
    this.#runs.set(id, run);
    this.#emit(run, "status", { ...state });
    run.timer = setInterval(() => this.#tick(run), this.#stepMs);
    return state;
  }

  control(run, action) {
    if (action === "cancel") run.cancelled = true; // after the present step
    else if (action === "resume" && FINAL.includes(run.state.status)) this.#requeue(run);
    else this.#setStatus(run, { pause: "paused", resume: "running" }[action]);
    return run.state;
  }

  /** As the server does it: earlier ends become notes, so that none of them ends the stream of events. */
  #requeue(run) {
    for (const entry of run.events) {
      if (entry.event !== "status" || !FINAL.includes(entry.data.status)) continue;
      Object.assign(entry, { event: "note", data: { message: `${entry.data.status} at step ${entry.data.step}, and resumed` } });
    }
    run.cancelled = false;
    this.#setStatus(run, "queued");
    run.timer = setInterval(() => this.#tick(run), this.#stepMs);
  }

  stopAll() {
    for (const run of this.#runs.values()) clearInterval(run.timer);
  }

  #setStatus(run, status) {
    run.state.status = status;
    if (FINAL.includes(status)) clearInterval(run.timer);
    this.#emit(run, "status", { ...run.state });
  }

  #tick(run) {
    const { state } = run;
    if (run.cancelled) return this.#setStatus(run, "cancelled");
    if (state.status === "paused") return;
    if (state.status === "queued") {
      this.#setStatus(run, "running");
      return this.#emit(run, "note", { message: "the reward model hardly reads: Be as a river." });
    }
    state.step += 1;
    state.seconds += 3.4;
    const t = state.step / state.steps;
    const noise = () => (run.draw() - 0.5) * 0.22;
    this.#emit(run, "step", {
      step: state.step,
      steps: state.steps,
      reward: -0.7 + 1.9 * (1 - Math.exp(-3 * t)) + noise(),
      kl: 4.6 * t ** 1.3 + Math.abs(noise()),
      entropy: 2.3 - 0.7 * t + noise() / 3,
      length: 105 - 58 * (1 - Math.exp(-2.5 * t)) + noise() * 22,
      loss: null,
      learning_rate: 0.0001,
      seconds: 3.4, // of this step
    });
    if (state.step % 4 === 1) {
      const prompt = ["Why is the sky blue?", "How do I start running?", "Name three rivers."][Math.floor(state.step / 4) % 3];
      this.#emit(run, "sample", { step: state.step, prompt, reply: reply(prompt, run.principles, state.step), reward: -0.6 + 1.7 * t, by_principle: [-0.6 + 1.7 * t] });
    }
    if (state.step >= state.steps) {
      state.adapter = state.name;
      this.#onAdapter(state);
      this.#setStatus(run, "finished");
    }
  }

  #emit(run, event, data) {
    const entry = { id: run.events.length + 1, event, data };
    run.events.push(entry);
    run.listeners.emit("event", entry);
  }
}
