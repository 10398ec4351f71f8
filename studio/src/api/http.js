// Requests to the server, with its errors as one type and its API key asked for when it wants one.
import { keyFor } from "./key.js";

/** Waits of at most this long are made without asking, when the server is busy (429). */
const LONGEST_WAIT_S = 15;
const MOST_TRIES = 4;

export class ApiError extends Error {
  /** @param {number} status HTTP status, or 0 if the server did not answer */
  constructor(status, message, code = null) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
  }
}

/**
 * Sends one request and returns its response, which is always a success.
 *
 * Paths are relative to the page, so that the page also works behind a proxy under a prefix.
 */
export async function send(method, path, { body, signal, headers } = {}) {
  let key = keyFor.current();
  for (let attempt = 1; ; attempt += 1) {
    const response = await attemptOnce(method, path, { body, signal, headers, key });
    if (response.ok) return response;
    if (response.status === 401) {
      key = await keyFor.next(key);
      continue;
    }
    const wait = Number(response.headers.get("Retry-After") ?? 1);
    if (response.status === 429 && attempt < MOST_TRIES && wait <= LONGEST_WAIT_S) {
      await pause(wait * 1000, signal);
      continue;
    }
    throw await errorOf(response);
  }
}

async function attemptOnce(method, path, { body, signal, headers, key }) {
  const all = { ...headers };
  if (body !== undefined) all["Content-Type"] = "application/json";
  if (key) all.Authorization = `Bearer ${key}`;
  try {
    return await fetch(new URL(path, document.baseURI), {
      method,
      headers: all,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
    });
  } catch (cause) {
    if (cause.name === "AbortError") throw cause;
    throw new ApiError(0, "The server does not answer. Is `parr serve` still running?");
  }
}

async function errorOf(response) {
  const fallback = `The server answered ${response.status} without a reason.`;
  const body = await response.json().catch(() => null);
  const error = body?.error;
  return new ApiError(response.status, error?.message ?? fallback, error?.code ?? null);
}

/** Waits, or rejects with an `AbortError` as soon as the signal fires. */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("stopped", "AbortError"));
    });
  });
}

async function json(method, path, options) {
  const response = await send(method, path, options);
  return response.status === 204 ? null : response.json();
}

export const get = (path, options) => json("GET", path, options);
export const post = (path, body, options) => json("POST", path, { ...options, body });
export const put = (path, body, options) => json("PUT", path, { ...options, body });
