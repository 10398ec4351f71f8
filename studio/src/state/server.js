// What the server is and which models it offers.
import { signal } from "@preact/signals";
import { get } from "../api/http.js";

/** The answer of /v1/server, or null before it has come. */
export const server = signal(null);
export const serverError = signal(null);
/** Entries of /v1/models: the base and its adapters. */
export const models = signal([]);

export async function loadServer() {
  serverError.value = null;
  try {
    const answer = await get("v1/server");
    models.value = answer.model ? (await get("v1/models")).data : [];
    server.value = answer;
  } catch (error) {
    serverError.value = error.message;
  }
}

export async function reloadModels() {
  models.value = (await get("v1/models")).data;
}

export const adapterOf = (model) => model.parr?.adapter ?? null;
