import { Part, html, icon, nothing } from "../dom.js";
import { repeat } from "lit-html/directives/repeat.js";

let host = null;

/**
 * Say something at the edge of the page.
 * @param {string} text
 * @param {{kind?: "info" | "error", action?: string, onAction?: () => void, onEnd?: () => void, seconds?: number}} [more]
 *   `onEnd` is called when it went away without its action
 */
export function toast(text, more = {}) {
  host?.add({ text, seconds: more.kind === "error" ? 10 : 5, ...more });
}

/** Show a failure of the service or of the network. */
export function toastError(error) {
  if (error?.name !== "AbortError") toast(error?.message ?? String(error), { kind: "error" });
}

class Toasts extends Part {
  static properties = { items: { state: true } };

  constructor() {
    super();
    this.items = [];
  }

  connectedCallback() {
    super.connectedCallback();
    host = this;
  }

  add(item) {
    const shown = { ...item, id: Symbol("toast") };
    shown.timer = setTimeout(() => this.end(shown), item.seconds * 1000);
    this.items = [...this.items.slice(-3), shown];
  }

  end(item, byAction = false) {
    if (!this.items.includes(item)) return;
    clearTimeout(item.timer);
    this.items = this.items.filter((one) => one !== item);
    if (byAction) item.onAction?.();
    else item.onEnd?.();
  }

  render() {
    return html`<div class="toasts" role="status" aria-live="polite">
      ${repeat(
        this.items,
        (item) => item.id,
        (item) => html`<div class="toast ${item.kind ?? "info"}">
          ${icon(item.kind === "error" ? "error" : "check")}
          <span>${item.text}</span>
          ${item.action ? html`<button type="button" class="link" @click=${() => this.end(item, true)}>${item.action}</button>` : nothing}
          <button type="button" class="plain" aria-label="Close this message" @click=${() => this.end(item)}>${icon("close")}</button>
        </div>`,
      )}
    </div>`;
  }
}

customElements.define("ap-toasts", Toasts);
