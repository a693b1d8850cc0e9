// Sending files: resumable (tus) for archives, groups of forms for many pictures. One object per upload tells how far it is.

import { APIError, address, call, proof } from "./api.js";

const CHUNK = 16 << 20;
const GROUP_BYTES = 24 << 20;
const GROUP_FILES = 400;
const RETRIES = [0, 500, 1500, 3000, 6000, 12000];
const PREFIX = "annoport";

/** How far an upload is, for those who show it. Events: "change". */
export class Upload extends EventTarget {
  constructor(total) {
    super();
    this.total = total;
    this.sent = 0;
    /** @type {"waiting" | "sending" | "paused" | "done" | "failed" | "cancelled"} */
    this.state = "waiting";
    this.message = "";
    this.canPause = false;
    this.resumedAt = 0;
    this.began = performance.now();
    this.beganAt = 0;
  }

  change(values) {
    Object.assign(this, values);
    this.dispatchEvent(new Event("change"));
  }

  get fraction() {
    return this.total ? Math.min(1, this.sent / this.total) : 1;
  }

  /** Seconds that are left at the pace so far; null while that is a guess. */
  get secondsLeft() {
    const seconds = (performance.now() - this.began) / 1000;
    const sent = this.sent - this.beganAt;
    if (seconds < 1.5 || sent <= 0 || this.state !== "sending") return null;
    return ((this.total - this.sent) / sent) * seconds;
  }

  pause() {}
  resume() {}
  cancel() {}
}

async function loadTus() {
  await import("../vendor/tus-js-client/tus.min.js");
  return globalThis.tus;
}

const keyOf = (endpoint, file, name) => `${PREFIX}|${endpoint}|${name}|${file.size}|${file.lastModified ?? 0}`;

/** Sends one file so that it can be paused, cut and taken up again, also after the page was closed. */
class Resumable extends Upload {
  /**
   * @param {string} endpoint where uploads begin
   * @param {Blob} body what is sent
   * @param {string} name
   * @param {File} file the file it is made of: what a later attempt recognises it by
   */
  constructor(endpoint, body, name, file) {
    super(body.size);
    this.canPause = true;
    this.uploadName = "";
    this.done = new Promise((resolve, reject) => {
      this.settle = { resolve, reject };
    });
    this.done.catch(() => {});
    this.open(endpoint, body, name, keyOf(endpoint, file, name) + (body === file ? "" : `|${body.size}`));
  }

  async open(endpoint, body, name, key) {
    const tus = await loadTus().catch(() => null);
    if (!tus) return this.fail(new APIError(0, null));
    this.tus = new tus.Upload(body, {
      endpoint,
      chunkSize: CHUNK,
      retryDelays: RETRIES,
      metadata: { filename: name },
      fingerprint: () => Promise.resolve(key),
      removeFingerprintOnSuccess: true,
      onBeforeRequest: (request) => {
        for (const [header, value] of Object.entries(proof())) request.setHeader(header, value);
      },
      onAfterResponse: (_, response) => {
        const given = response.getHeader("Upload-Filename");
        if (given) this.uploadName = given;
      },
      onShouldRetry: (error) => {
        const status = error.originalResponse?.getStatus() ?? 0;
        return status === 0 || status === 409 || status === 423 || status >= 500;
      },
      onProgress: (sent) => this.change({ sent }),
      onSuccess: () => {
        this.uploadName ||= decodeURIComponent(this.tus.url.split("/").at(-1));
        this.change({ state: "done", sent: this.total });
        this.settle.resolve(this.uploadName);
      },
      onError: (error) => {
        if (this.state === "paused" || this.state === "cancelled") return;
        this.fail(asAPIError(error));
      },
    });
    const earlier = await this.tus.findPreviousUploads();
    if (earlier.length) {
      this.tus.resumeFromPreviousUpload(earlier.at(-1));
      this.resumedAt = 1;
    }
    if (this.state === "cancelled") return;
    this.start();
  }

  start() {
    this.change({ state: "sending", began: performance.now(), beganAt: this.sent });
    this.tus.start();
  }

  /** What the service refuses is the end; what a network lost waits for "go on". */
  fail(error) {
    this.change({ state: "failed", message: error.message });
    if (error.status >= 400 && error.status < 500) this.settle.reject(error);
  }

  pause() {
    if (this.state !== "sending") return;
    this.change({ state: "paused" });
    this.tus.abort();
  }

  resume() {
    if (this.state === "paused" || this.state === "failed") this.start();
  }

  cancel() {
    this.change({ state: "cancelled" });
    this.tus?.abort();
    this.settle.reject(new DOMException("cancelled", "AbortError"));
  }
}

function asAPIError(error) {
  const response = error.originalResponse;
  if (!response) return new APIError(0, null);
  let body = response.getBody();
  try {
    body = JSON.parse(body);
  } catch {
    // Not JSON: shown as it is.
  }
  return new APIError(response.getStatus(), body);
}

/** @returns {Resumable} `done` gives the name that the service knows the upload by */
export function sendResumable(endpoint, body, name, file = body) {
  return new Resumable(address(endpoint).href, body, name, file);
}

/** @typedef {{key: string, name: string, fileSize: number, size: number, url: string, begun: string, held?: number}} Unfinished */

/**
 * Uploads to this endpoint that were begun in this browser and never ended.
 * @returns {Unfinished[]}
 */
export function unfinishedUploads(endpoint) {
  const start = `tus::${PREFIX}|${address(endpoint).href}|`;
  const found = [];
  for (let index = 0; index < localStorage.length; index += 1) {
    const key = localStorage.key(index);
    if (!key?.startsWith(start)) continue;
    try {
      const entry = JSON.parse(localStorage.getItem(key) ?? "");
      const [name, fileSize] = key.slice(start.length).split("|");
      found.push({ key, name, fileSize: Number(fileSize), size: entry.size, url: entry.uploadUrl, begun: entry.creationTime });
    } catch {
      localStorage.removeItem(key);
    }
  }
  return found;
}

/** How many bytes the service holds of an unfinished upload; null where it has forgotten it. */
export async function heldBytes(unfinished) {
  try {
    const answer = await fetch(unfinished.url, { method: "HEAD", headers: { "Tus-Resumable": "1.0.0" } });
    if (!answer.ok) {
      localStorage.removeItem(unfinished.key);
      return null;
    }
    return Number(answer.headers.get("Upload-Offset"));
  } catch {
    return null;
  }
}

export const forgetUpload = (unfinished) => localStorage.removeItem(unfinished.key);

/** Sends many files in forms of some hundred each. */
class Grouped extends Upload {
  constructor(endpoint, files) {
    super(files.reduce((sum, { file }) => sum + file.size, 0));
    this.controller = new AbortController();
    this.done = this.run(endpoint, files);
    this.done.catch(() => {});
  }

  async run(endpoint, files) {
    this.change({ state: "sending" });
    let sent = 0;
    try {
      for (const group of grouped(files)) {
        const bytes = group.reduce((sum, { file }) => sum + file.size, 0);
        await this.sendGroup(endpoint, group, sent);
        sent += bytes;
        this.change({ sent });
      }
      this.change({ state: "done", sent: this.total });
    } catch (error) {
      if (this.state !== "cancelled") this.change({ state: "failed", message: error.message });
      throw error;
    }
  }

  async sendGroup(endpoint, group, before) {
    for (let attempt = 0; ; attempt += 1) {
      try {
        await sendForm(endpoint, group, this.controller.signal, (bytes) => this.change({ sent: before + bytes }));
        return;
      } catch (error) {
        // Where an answer was lost the group may have arrived after all: the service then names a file that came twice.
        if (attempt >= 3 || error.name === "AbortError" || (error.status && error.status < 500)) throw error;
        await new Promise((resolve) => setTimeout(resolve, 1000 * 2 ** attempt));
      }
    }
  }

  cancel() {
    this.change({ state: "cancelled" });
    this.controller.abort();
  }
}

function* grouped(files) {
  let group = [];
  let bytes = 0;
  for (const one of files) {
    if (group.length && (group.length >= GROUP_FILES || bytes + one.file.size > GROUP_BYTES)) {
      yield group;
      group = [];
      bytes = 0;
    }
    group.push(one);
    bytes += one.file.size;
  }
  if (group.length) yield group;
}

/** fetch() does not tell how much of a body has left; XMLHttpRequest does. */
function sendForm(endpoint, group, signal, onProgress) {
  return new Promise((/** @type {(value?: void) => void} */ resolve, reject) => {
    const form = new FormData();
    group.forEach(({ file, name }, index) => form.append(`client_files[${index}]`, file, name ?? file.name));
    const request = new XMLHttpRequest();
    request.open("POST", endpoint);
    request.setRequestHeader("Upload-Multiple", "true");
    for (const [header, value] of Object.entries(proof())) request.setRequestHeader(header, value);
    request.upload.addEventListener("progress", (event) => onProgress(Math.min(event.loaded, event.total)));
    request.addEventListener("load", () => {
      if (request.status >= 200 && request.status < 300) return resolve();
      let body = request.responseText;
      try {
        body = JSON.parse(body);
      } catch {
        // Not JSON: shown as it is.
      }
      return reject(new APIError(request.status, body));
    });
    request.addEventListener("error", () => reject(new APIError(0, null)));
    request.addEventListener("abort", () => reject(new DOMException("cancelled", "AbortError")));
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

/** @param {{file: File, name?: string}[]} files */
export function sendGroups(endpoint, files) {
  return new Grouped(endpoint, files);
}

/** Tell the service that everything has come; answers the id of the work. */
export async function finishUpload(endpoint, query, body) {
  const answer = await call("POST", endpoint, { query, body, headers: { "Upload-Finish": "true" } });
  return answer.rq_id;
}
