// Training runs: the list, the one that is shown, and its events as they come.
import { batch, computed, signal } from "@preact/signals";
import { get, pause, post, send } from "../api/http.js";
import { readEvents } from "../api/events.js";
import { notify } from "../state/notices.js";
import { reloadModels } from "../state/server.js";
import { setForRequest } from "../principles/check.js";

const POLL_MS = 4000;
const RECONNECT_MS = 1500;
const SHOW_MS = 60;
/** Only the newest samples are kept: a long run makes thousands. */
const MOST_SAMPLES = 40;

export const runs = signal([]);
export const shownId = signal(null);
/** Steps and samples of the shown run. */
export const steps = signal([]);
export const samples = signal([]);
/** What the server says about the shown run, such as a principle that the reward model hardly reads. */
export const runNotes = signal([]);
/** Ids of runs that have been cancelled and still finish their step. */
export const ending = signal(new Set());

const FINAL = new Set(["finished", "failed", "cancelled"]);
export const isFinal = (run) => FINAL.has(run.status);
export const activeRuns = computed(() => runs.value.filter((run) => !isFinal(run)));

let following = null;

export async function startRuns() {
  await reloadRuns();
  const [newest] = runs.value;
  if (newest && !isFinal(newest)) showRun(newest.id);
  setInterval(() => {
    if (activeRuns.value.length > 0) reloadRuns().catch(() => {}); // the next poll tries again
  }, POLL_MS);
}

/** A run that waits has no start yet; it is the newest. */
const startOf = (run) => run.started ?? "9999";

export async function reloadRuns() {
  const { data } = await get("v1/runs");
  const fresh = [...data].sort((a, b) => startOf(b).localeCompare(startOf(a)));
  for (const run of fresh) noteFinish(run);
  runs.value = fresh;
}

function takeRun(run) {
  noteFinish(run);
  const known = runs.value.some((other) => other.id === run.id);
  runs.value = known ? runs.value.map((other) => (other.id === run.id ? run : other)) : [run, ...runs.value];
}

/** Tells about a run that has just ended, and fetches the adapter that it has made. */
function noteFinish(run) {
  const before = runs.value.find((other) => other.id === run.id);
  if (!before || isFinal(before) || !isFinal(run)) return;
  if (run.status === "failed") notify(`${run.name || run.id} failed. ${run.error ?? ""}`, "error");
  if (run.status !== "finished") return;
  reloadModels().catch(() => {});
  notify(run.adapter ? `${run.name || run.id} is done. Its adapter is in the model menu.` : `${run.name || run.id} is done.`);
}

/** Starts an alignment to the principles on the cards. */
export async function startAlignment({ name, minutes, steps: stepCount, settings }) {
  const principles = await setForRequest("edited");
  const body = { kind: "align", principles, ...(name ? { name } : {}), ...(settings ? { settings } : {}) };
  const run = await post("v1/runs", { ...body, ...(stepCount ? { steps: stepCount } : { minutes }) });
  takeRun(run);
  showRun(run.id);
}

export async function control(run, action) {
  if (action === "cancel") ending.value = new Set(ending.value).add(run.id);
  try {
    takeRun(await post(`v1/runs/${encodeURIComponent(run.id)}/${action}`));
    if (action === "resume" && isFinal(run)) {
      // The events of a run that had ended come again from its beginning.
      ending.value = new Set([...ending.value].filter((id) => id !== run.id));
      showRun(null);
      showRun(run.id);
    }
  } catch (error) {
    notify(error.message, "error");
  }
}

/** Shows a run and follows its events; null closes the run that is shown. */
export function showRun(id) {
  if (shownId.value === id) return;
  following?.abort();
  arrived.steps = [];
  arrived.samples = [];
  shownId.value = id;
  steps.value = [];
  samples.value = [];
  runNotes.value = [];
  following = id === null ? null : new AbortController();
  if (id !== null) follow(id, following.signal);
}

/** Reads events until the run has ended, and picks up again where a lost connection stopped. */
async function follow(id, abort) {
  let last = null;
  while (!abort.aborted) {
    try {
      const response = await send("GET", `v1/runs/${encodeURIComponent(id)}/events`, {
        signal: abort,
        headers: last === null ? {} : { "Last-Event-ID": last },
      });
      for await (const event of readEvents(response)) {
        if (abort.aborted) return;
        last = event.id ?? last;
        if (takeEvent(event)) return;
      }
    } catch (error) {
      if (error.name === "AbortError" || error.status >= 400) return;
    }
    const run = runs.value.find((other) => other.id === id);
    if (!run || isFinal(run)) return;
    await pause(RECONNECT_MS, abort).catch(() => {});
  }
}

/** What has come and is not on the screen yet. A long run sends thousands of steps at once when it is opened. */
const arrived = { steps: [], samples: [], timer: null };

function showArrived() {
  arrived.timer = null;
  batch(() => {
    if (arrived.steps.length > 0) {
      const first = arrived.steps[0].step; // after a resume from a saved state, steps can come again
      steps.value = [...steps.value.filter((step) => step.step < first), ...arrived.steps];
      countSteps(shownId.value, arrived.steps.at(-1));
    }
    if (arrived.samples.length > 0) {
      samples.value = [...arrived.samples.reverse(), ...samples.value].slice(0, MOST_SAMPLES);
    }
  });
  arrived.steps = [];
  arrived.samples = [];
}

/** The list shows how far a run is before it is next asked for. The seconds of a step are its own, not the run's. */
function countSteps(id, { step, steps: all }) {
  runs.value = runs.value.map((run) => (run.id === id && !isFinal(run) ? { ...run, step, steps: all ?? run.steps } : run));
}

/** Returns whether this was the last event. */
function takeEvent({ event, data, id }) {
  const value = JSON.parse(data);
  if (event === "step" || event === "sample") {
    arrived[`${event}s`].push({ ...value, key: id });
    arrived.timer ??= setTimeout(showArrived, SHOW_MS);
  } else if (event === "note") {
    runNotes.value = [...runNotes.value, value.message];
  } else if (event === "status") {
    // The events of a run begin with its past: one that has ended was not queued just now.
    const isPast = runs.value.some((run) => run.id === value.id && isFinal(run)) && !isFinal(value);
    if (!isPast) takeRun(value);
    return isFinal(value);
  }
  return false;
}
