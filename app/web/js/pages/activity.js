import { call, get, post } from "../api.js";
import { Part, html, icon, nothing } from "../dom.js";
import { count, counted } from "../format.js";
import { curlLogin, quoted } from "../parts/commands.js";
import { requestRows } from "../parts/requests.js";
import { SERVICE } from "../router.js";
import { toastError } from "../parts/toasts.js";

/** Everything that was done in the background. */
class Activity extends Part {
  static properties = { user: { attribute: false }, requests: { state: true }, total: { state: true }, everything: { state: true } };

  constructor() {
    super();
    /** @type {Who} */
    this.user = null;
    this.requests = null;
    this.total = 0;
    this.pages = 1;
    /** Whether checks (dry runs) are listed too; they changed nothing, and each import has some before it. */
    this.everything = false;
  }

  connectedCallback() {
    super.connectedCallback();
    document.title = "Activity · annoport";
    this.load();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearTimeout(this.timer);
  }

  async load() {
    clearTimeout(this.timer);
    try {
      const found = await get("/api/requests", { page_size: 30 * this.pages });
      this.requests = found.results;
      this.total = found.count;
    } catch (error) {
      if (this.requests === null) toastError(error);
    }
    const busy = this.requests?.some((request) => request.status === "queued" || request.status === "started");
    if (this.isConnected) this.timer = setTimeout(() => this.load(), busy ? 1000 : 8000);
  }

  async again(request) {
    await post(`/api/requests/${request.id}/retry`).catch(toastError);
    this.load();
  }

  async cancel(request) {
    try {
      await call("POST", `/api/requests/${request.id}/cancel`);
    } catch (error) {
      toastError(error);
    }
    this.load();
  }

  render() {
    const isCheck = (request) => request.report?.dry_run;
    const checks = this.requests?.filter(isCheck).length ?? 0;
    const shown = this.requests?.filter((request) => this.everything || !isCheck(request)) ?? [];
    return html`<main class="page narrow" id="main">
      <h1>Activity</h1>
      ${this.requests === null
        ? html`<p class="fine">Loading …</p>`
        : this.requests.length
          ? html`${checks
              ? html`<p class="row tight fine"><label class="row tight"><input type="checkbox" .checked=${this.everything} @change=${(event) => (this.everything = event.target.checked)}>
                  <span>Show ${counted(checks, "check")} that changed nothing</span></label></p>`
              : nothing}
              ${requestRows(shown, { onCancel: (request) => this.cancel(request), onAgain: (request) => this.again(request), withTask: true })}
              ${this.requests.length < this.total
                ? html`<p class="row center"><button type="button" class="button" @click=${() => {
                    this.pages += 1;
                    this.load();
                  }}>Show more of ${count(this.total)}</button></p>`
                : nothing}`
          : html`<div class="nothing">${icon("activity")}<p>Imports and exports show up here while they run, and for a week after.</p></div>`}
      <ap-commands .lines=${[{ name: "curl", text: `curl${curlLogin(this.user)} ${quoted(`${SERVICE}/api/requests`)}` }]}></ap-commands>
    </main>`;
  }
}

customElements.define("ap-activity", Activity);
