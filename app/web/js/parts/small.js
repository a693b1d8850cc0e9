import { Part, css, html, icon, nothing } from "../dom.js";
import { filesOf } from "./drop.js";

/** The colour of a label. */
class Dot extends Part {
  static properties = { color: {} };

  constructor() {
    super();
    this.color = "";
  }

  render() {
    return html`<span class="dot" aria-hidden="true" ${css({ background: this.color || "#888888" })}></span>`;
  }
}

/** Takes drops anywhere in the window, for pages whose main thing is something else. Tells `ap-files`. */
class WholeDrop extends Part {
  static properties = { over: { state: true } };

  constructor() {
    super();
    this.over = 0;
    const takes = (event) => event.dataTransfer?.types.includes("Files");
    this.handlers = {
      dragenter: (event) => takes(event) && (event.preventDefault(), (this.over += 1)),
      dragleave: (event) => takes(event) && (this.over = Math.max(0, this.over - 1)),
      dragover: (event) => takes(event) && event.preventDefault(),
      drop: async (event) => {
        if (!takes(event)) return;
        event.preventDefault();
        this.over = 0;
        const files = await filesOf(event.dataTransfer);
        if (files.length) this.tell("ap-files", files);
      },
    };
  }

  connectedCallback() {
    super.connectedCallback();
    for (const [name, handler] of Object.entries(this.handlers)) window.addEventListener(name, handler);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    for (const [name, handler] of Object.entries(this.handlers)) window.removeEventListener(name, handler);
  }

  render() {
    return this.over ? html`<div class="veil" aria-hidden="true"><p>${icon("upload")} Let go to add</p></div>` : nothing;
  }
}

customElements.define("ap-dot", Dot);
customElements.define("ap-whole-drop", WholeDrop);
