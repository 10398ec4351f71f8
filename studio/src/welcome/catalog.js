// The first visit: a model is chosen, downloaded and opened.
import { signal } from "@preact/signals";
import { ApiError, get, post, send } from "../api/http.js";
import { readEvents } from "../api/events.js";

export const catalog = signal([]);
export const catalogError = signal(null);
/** The model that is on its way: `{ name, stage: "pulling"|"opening", done, of }`, or null. */
export const arriving = signal(null);

export async function loadCatalog() {
  try {
    catalog.value = (await get("v1/catalog")).data;
    catalogError.value = null;
  } catch (error) {
    catalogError.value = error.message;
  }
}

/** Downloads a model unless it is here already, and opens it. */
export async function pullAndOpen(entry) {
  catalogError.value = null;
  try {
    if (!entry.cached) await pull(entry.name);
    arriving.value = { name: entry.name, stage: "opening", done: 0, of: 0 };
    await post(`v1/catalog/${encodeURIComponent(entry.name)}/open`);
    return true;
  } catch (error) {
    catalogError.value = error.message;
    return false;
  } finally {
    arriving.value = null;
  }
}

async function pull(name) {
  arriving.value = { name, stage: "pulling", done: 0, of: 0 };
  const response = await send("POST", `v1/catalog/${encodeURIComponent(name)}/pull`);
  for await (const { event, data } of readEvents(response)) {
    const value = JSON.parse(data);
    if (event === "progress") arriving.value = { ...arriving.value, ...value };
    if (event === "note") arriving.value = { ...arriving.value, note: value.message };
    if (event === "error") throw new ApiError(0, value.message);
    if (event === "done") return;
  }
  throw new ApiError(0, "The download broke off. Start it again.");
}
