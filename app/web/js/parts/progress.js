import { Part, css, html, icon, nothing } from "../dom.js";
import { duration, fileSize, percent } from "../format.js";

/** A bar. `value` 0..1, or null for "no telling". */
export function bar(value, label, kind = "") {
  const known = value !== null && value !== undefined;
  return html`<div class="bar ${kind} ${known ? "" : "is-unknown"}" role="progressbar" aria-label=${label}
    aria-valuemin="0" aria-valuemax="100" aria-valuenow=${known ? Math.round(value * 100) : nothing}>
    <div ${css({ width: known ? `${(value * 100).toFixed(2)}%` : null })}></div></div>`;
}

/** How far an upload is, with its buttons. `upload` is an `Upload` of upload.js. */
class UploadProgress extends Part {
  static properties = { upload: { attribute: false }, name: {} };

  constructor() {
    super();
    this.upload = null;
    this.name = "";
    this.changed = () => this.requestUpdate();
  }

  get isLost() {
    return this.upload.state === "failed" && this.upload.canPause;
  }

  willUpdate(changes) {
    if (!changes.has("upload")) return;
    changes.get("upload")?.removeEventListener("change", this.changed);
    this.upload?.addEventListener("change", this.changed);
  }

  render() {
    const upload = this.upload;
    if (!upload) return nothing;
    const words = {
      waiting: "Getting ready",
      sending: upload.resumedAt ? "Going on where it stopped" : "Sending",
      paused: "Paused",
      done: "Sent",
      failed: "Stopped",
      cancelled: "Cancelled",
    };
    const left = upload.secondsLeft;
    return html`<div class="upload" data-state=${upload.state}>
      <div class="row">
        <strong class="grow clip" title=${this.name}>${this.name}</strong>
        ${upload.canPause && upload.state === "sending"
          ? html`<button type="button" class="button small" @click=${() => upload.pause()}>${icon("pause")} Pause</button>`
          : nothing}
        ${upload.canPause && (upload.state === "paused" || upload.state === "failed")
          ? html`<button type="button" class="button small primary" @click=${() => upload.resume()}>${icon("play")} Go on</button>`
          : nothing}
        ${["sending", "paused", "failed"].includes(upload.state)
          ? html`<button type="button" class="button small" @click=${() => upload.cancel()}>Cancel</button>`
          : nothing}
      </div>
      ${bar(upload.fraction, `Sending ${this.name}`, upload.state === "failed" ? "is-bad" : "")}
      <p class="fine" aria-live="off">
        ${words[upload.state]}: ${fileSize(upload.sent)} of ${fileSize(upload.total)} (${percent(upload.fraction)})${left !== null ? `, about ${duration(left)} left` : ""}
        ${upload.state === "failed" ? html`<br><span class="bad">${upload.message}</span> ${this.isLost ? "What has arrived is kept." : ""}` : nothing}
      </p>
    </div>`;
  }
}

customElements.define("ap-upload", UploadProgress);
