import { address, call, get, untilFinal } from "../api.js";
import { Part, html, icon } from "../dom.js";
import { counted } from "../format.js";
import { cvat, curlLogin, quoted } from "../parts/commands.js";
import { requestRows } from "../parts/requests.js";
import { toast, toastError } from "../parts/toasts.js";

const LAYOUTS = {
  default: ["As CVAT writes it", "read by CVAT, datumaro and this service"],
  official: ["As published", "file names of the official downloads"],
  fiftyone: ["For FiftyOne", "data, labels and metadata folders"],
};

/** The task as a zip. */
class Export extends Part {
  static properties = {
    task: { attribute: false },
    user: { attribute: false },
    formats: { state: true },
    format: { state: true },
    layout: { state: true },
    pictures: { state: true },
    requests: { state: true },
    asking: { state: true },
  };

  constructor() {
    super();
    /** @type {Task} */
    this.task = null;
    /** @type {Who} */
    this.user = null;
    this.formats = [];
    this.format = "Open Images V6 1.0";
    this.layout = "default";
    this.pictures = false;
    this.requests = null;
    this.asking = false;
    this.watched = new Set();
  }

  connectedCallback() {
    super.connectedCallback();
    this.controller = new AbortController();
    this.load();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.controller.abort();
  }

  async load() {
    try {
      const [formats] = await Promise.all([get("/api/server/annotation/formats"), this.loadRequests()]);
      this.formats = formats.exporters.filter((one) => one.enabled);
    } catch (error) {
      toastError(error);
    }
  }

  async loadRequests() {
    const found = await get("/api/requests", { task_id: this.task.id, page_size: 30 });
    this.requests = found.results.filter((request) => request.operation.type.startsWith("export:"));
    for (const request of this.requests) if (request.status === "queued" || request.status === "started") this.watch(request.id);
  }

  put(request) {
    const rest = (this.requests ?? []).filter((one) => one.id !== request.id);
    this.requests = [request, ...rest].sort((a, b) => b.created_date.localeCompare(a.created_date));
  }

  async watch(id, download = false) {
    if (this.watched.has(id)) return;
    this.watched.add(id);
    try {
      const done = await untilFinal(id, (request) => this.put(request), this.controller.signal);
      if (done.status === "failed") toast(done.message, { kind: "error" });
      else if (download && done.result_url) {
        const link = document.createElement("a");
        link.href = done.result_url;
        link.download = "";
        link.click();
      }
    } catch (error) {
      toastError(error);
    } finally {
      this.watched.delete(id);
    }
  }

  get query() {
    return { format: this.format, save_images: this.pictures ? "true" : null, layout: this.layout === "default" ? null : this.layout };
  }

  get url() {
    return address(`/api/tasks/${this.task.id}/export`, this.query);
  }

  async prepare() {
    this.asking = true;
    try {
      const { rq_id: id } = await call("POST", `/api/tasks/${this.task.id}/dataset/export`, { query: { ...this.query, filename: `${this.task.name}.zip` } });
      this.watch(id, true);
    } catch (error) {
      toastError(error);
    } finally {
      this.asking = false;
    }
  }

  async cancel(request) {
    try {
      this.put(await call("POST", `/api/requests/${request.id}/cancel`));
    } catch (error) {
      toastError(error);
    }
  }

  lines() {
    const login = curlLogin(this.user);
    return [
      { name: "curl", text: `curl${login} -OJ ${quoted(this.url.href)}` },
      { name: "cvat-cli", text: `${cvat(this.user)} task export-dataset --format ${quoted(this.format)} --with-images ${this.pictures ? "yes" : "no"} ${this.task.id} ${quoted(`${this.task.name.replace(/[^\w.-]+/g, "_")}.zip`)}` },
    ];
  }

  render() {
    const radio = (/** @type {string} */ value, /** @type {string[]} */ [name, fine]) => html`<label class="check"><input type="radio" name="layout" .checked=${this.layout === value} @change=${() => (this.layout = value)}><span>${name} <span class="fine">${fine}</span></span></label>`;
    return html`<div class="sides even">
      <section class="panel stack">
        <h2>Take it with you</h2>
        <label class="stack tight"><span class="name">Format</span>
          <select @change=${(event) => (this.format = event.target.value)}>
            ${(this.formats.length ? this.formats : [{ name: this.format }]).map((one) => html`<option value=${one.name} ?selected=${one.name === this.format}>${one.name}</option>`)}
          </select></label>
        <fieldset class="stack tight"><legend>Layout of the zip</legend>${Object.entries(LAYOUTS).map(([value, words]) => radio(value, words))}</fieldset>
        <label class="check"><input type="checkbox" .checked=${this.pictures} @change=${(event) => (this.pictures = event.target.checked)}>
          <span>With the pictures <span class="fine">${counted(this.task.size, "picture")}, as they were uploaded</span></span></label>
        <div class="row wrap">
          <a class="button primary big" href=${this.url.pathname + this.url.search} download>${icon("download")} Download ${this.task.name.length > 24 ? "" : `${this.task.name}.zip`}</a>
          <button type="button" class="button" ?disabled=${this.asking} @click=${() => this.prepare()}>Prepare it first</button>
        </div>
        <p class="fine">The download starts at once and is written as it goes. A prepared one can be paused, resumed and fetched again.</p>
        <ap-commands .lines=${this.lines()}></ap-commands>
      </section>
      <section class="panel">
        <h2>Prepared</h2>
        ${this.requests === null
          ? html`<p class="fine">Loading …</p>`
          : this.requests.length
            ? requestRows(this.requests, { onCancel: (request) => this.cancel(request), onAgain: () => this.prepare() })
            : html`<div class="nothing small"><p>Nothing has been prepared yet.</p></div>`}
      </section>
    </div>`;
  }
}

customElements.define("ap-export", Export);
