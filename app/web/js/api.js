// The service's API, the same that everyone else uses.

import { SERVICE } from "./router.js";

export class APIError extends Error {
  /** @param {number} status @param {any} body */
  constructor(status, body) {
    super(messageOf(status, body));
    this.status = status;
    this.body = body && typeof body === "object" ? body : {};
    this.code = this.body.code ?? "";
    this.problems = this.body.problems ?? [];
  }
}

function messageOf(status, body) {
  if (typeof body === "string" && body && body.length < 300) return body;
  if (body?.detail) return body.detail;
  if (Array.isArray(body) && body.length) return String(body[0]);
  if (status === 0) return "The service does not answer. Is it still running?";
  if (status === 413) return "That is larger than this service takes.";
  if (status === 507) return "The service has no room left on its disk.";
  return `The service answered with ${status}.`;
}

function cookie(name) {
  const found = document.cookie.split("; ").find((part) => part.startsWith(`${name}=`));
  return found ? decodeURIComponent(found.slice(name.length + 1)) : "";
}

/** Headers that prove a session's own page is asking. */
export function proof() {
  const token = cookie("csrftoken");
  return token ? { "X-CSRFToken": token } : {};
}

/** @param {string} path @param {Query} [query] empty values are left out */
export function address(path, query = {}) {
  const url = new URL(path.startsWith("/") ? SERVICE + path : path);
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, String(value));
  }
  return url;
}

/**
 * Call the API. A plain `body` object goes as JSON.
 * @param {string} method
 * @param {string} path
 * @param {{query?: Query, body?: any, headers?: Record<string, string>, signal?: AbortSignal, keepalive?: boolean}} [more]
 * @returns {Promise<any>} the JSON of the answer; null where there is none
 */
export async function call(method, path, { query, body, headers, signal, keepalive } = {}) {
  const isRaw = body instanceof Blob || body instanceof FormData || typeof body === "string";
  let answer;
  try {
    answer = await fetch(address(path, query), {
      method,
      headers: { Accept: "application/json", ...(body && !isRaw ? { "Content-Type": "application/json" } : {}), ...proof(), ...headers },
      body: body && !isRaw ? JSON.stringify(body) : body,
      signal,
      keepalive,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new APIError(0, null);
  }
  const text = await answer.text();
  let value = null;
  try {
    value = text ? JSON.parse(text) : null;
  } catch {
    value = text;
  }
  if (!answer.ok) {
    if (answer.status === 401) window.dispatchEvent(new CustomEvent("ap-signed-out"));
    throw new APIError(answer.status, value);
  }
  return value;
}

export const get = (path, query, more = {}) => call("GET", path, { query, ...more });
/** @param {string} path @param {any} [body] */
export const post = (path, body, more = {}) => call("POST", path, { body, ...more });
export const patch = (path, body) => call("PATCH", path, { body });
export const remove = (path, more = {}) => call("DELETE", path, more);

/** Every page of a list. */
export async function all(path, query = {}) {
  const found = [];
  for (let page = 1; ; page += 1) {
    const part = await get(path, { ...query, page, page_size: 500 });
    found.push(...part.results);
    if (!part.next) return found;
  }
}

const sleep = (ms, signal) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason ?? new DOMException("aborted", "AbortError"));
    });
  });

/**
 * Wait for the end of background work. The service holds each answer until the work has ended, or for some seconds.
 * @param {string} id
 * @param {(request: Work) => void} [onProgress]
 * @param {AbortSignal} [signal]
 * @returns {Promise<Work>} finished or failed
 */
export async function untilFinal(id, onProgress = () => {}, signal) {
  for (let misses = 0; ; ) {
    try {
      const request = await get(`/api/requests/${encodeURIComponent(id)}`, {}, { signal });
      misses = 0;
      onProgress(request);
      if (request.status === "finished" || request.status === "failed") return request;
    } catch (error) {
      misses += 1;
      if (error.name === "AbortError" || (error.status && error.status < 500) || misses > 20) throw error;
    }
    await sleep(misses ? 1500 : 150, signal);
  }
}

/** Whether work that was asked for has ended well. */
export const isFinal = (request) => request.status === "finished" || request.status === "failed";
