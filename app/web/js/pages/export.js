import { address, call, get, post, untilFinal } from "../api.js";
import { Part, html, icon, nothing } from "../dom.js";
import { FLAG_WORDS } from "../findings.js";
import { count, counted } from "../format.js";
import { cvat, curlLogin, quoted } from "../parts/commands.js";
import { requestRows } from "../parts/requests.js";
import { toast, toastError } from "../parts/toasts.js";
import { subsetsOf } from "./health.js";

const LAYOUTS = {
  default: ["As CVAT writes it", "read by CVAT, datumaro and this service"],
  official: ["As published", "file names of the official downloads"],
  fiftyone: ["For FiftyOne", "data, labels and metadata folders"],
};
const KINDS = { detections: ["boxes", "box"], segmentations: ["masks and outlines", "mask or outline"], classifications: ["picture labels", "picture label"], points: ["point sets", "point set"], others: ["others", "other"] };
const NO_PART = { classes: [], subsets: [], label_types: [], attributes: [], only_matching: true, annotated_only: false, min_confidence: "", max_images: "", image_ids: "" };
const MANY = 24;

/** A list as one text: entries that hold a comma or a quote are quoted. */
const listed = (names) => names.map((name) => (/[",\n]/.test(name) ? `"${name.replaceAll('"', '""')}"` : name)).join(",");

/** The task, or a part of it, as a zip. */
class Export extends Part {
  static properties = {
    task: { attribute: false },
    labels: { attribute: false },
    user: { attribute: false },
    formats: { state: true },
    format: { state: true },
    layout: { state: true },
    pictures: { state: true },
    requests: { state: true },
    asking: { state: true },
    stats: { state: true },
    wanted: { state: true },
    open: { state: true },
    counts: { state: true },
    counting: { state: true },
    search: { state: true },
  };

  constructor() {
    super();
    /** @type {Task} */
    this.task = null;
    /** @type {Label[]} */
    this.labels = [];
    /** @type {Who} */
    this.user = null;
    this.formats = [];
    this.format = "Open Images V6 1.0";
    this.layout = "default";
    this.pictures = false;
    this.requests = null;
    this.asking = false;
    this.stats = null;
    this.wanted = { ...NO_PART };
    this.open = false;
    /** @type {Report | null} what the chosen part holds */
    this.counts = null;
    this.counting = false;
    this.search = "";
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
    this.asked?.abort();
    clearTimeout(this.timer);
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
    const found = await get("/api/requests", { task_id: this.task.id, action: "export", page_size: 30 });
    this.requests = found.results;
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

  // What is chosen

  /** The wishes as parameters of the API; empty where all is wanted. */
  get wishes() {
    const { wanted: part } = this;
    const wishes = {
      classes: listed(part.classes),
      subsets: listed(part.subsets),
      label_types: part.label_types.join(","),
      attributes: listed(part.attributes),
      image_ids: listed(part.image_ids.split("\n").map((line) => line.trim()).filter(Boolean)),
      annotated_only: part.annotated_only ? "true" : "",
      min_confidence: part.min_confidence,
      max_images: part.max_images,
    };
    const byRows = wishes.classes || wishes.attributes;
    return { ...wishes, only_matching: byRows && part.only_matching ? "true" : "" };
  }

  get isPart() {
    return Object.values(this.wishes).some(Boolean);
  }

  get query() {
    return { format: this.format, save_images: this.pictures ? "true" : null, layout: this.layout === "default" ? null : this.layout, ...this.wishes };
  }

  get url() {
    return address(`/api/tasks/${this.task.id}/export`, this.query);
  }

  want(values) {
    this.wanted = { ...this.wanted, ...values };
    this.countSoon();
  }

  toggle(name, value) {
    const chosen = this.wanted[name];
    this.want({ [name]: chosen.includes(value) ? chosen.filter((one) => one !== value) : [...chosen, value] });
  }

  unfold(event) {
    this.open = event.target.open;
    if (!this.open || this.stats) return;
    this.countSoon(0);
    get(`/api/tasks/${this.task.id}/stats`).then((stats) => (this.stats = stats), toastError);
  }

  countSoon(pause = 250) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.count(), pause);
  }

  /** Ask what the part would hold; the answer to an older question is not waited for. */
  async count() {
    this.asked?.abort();
    const asked = (this.asked = new AbortController());
    this.counting = true;
    try {
      const { save_images, layout, ...query } = this.query;
      const found = await get(`/api/tasks/${this.task.id}/export`, { ...query, dry_run: "true" }, { signal: asked.signal });
      if (asked === this.asked) this.counts = found;
    } catch (error) {
      if (asked !== this.asked) return;
      this.counts = null;
      toastError(error);
    } finally {
      if (asked === this.asked) this.counting = false;
    }
  }

  // Asking for files

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
      this.put(await post(`/api/requests/${request.id}/cancel`));
    } catch (error) {
      toastError(error);
    }
  }

  async again(request) {
    try {
      const { rq_id: id } = await post(`/api/requests/${request.id}/retry`);
      this.watch(id);
    } catch (error) {
      toastError(error);
    }
  }

  lines() {
    const login = curlLogin(this.user);
    const stem = this.task.name.replace(/[^\w.-]+/g, "_");
    return [
      { name: "curl", text: `curl${login} -fOJ ${quoted(this.url.href)}` },
      ...(this.isPart || this.layout !== "default"
        ? []
        : [{ name: "cvat-cli", text: `${cvat(this.user)} task export-dataset --format ${quoted(this.format)} --with-images ${this.pictures ? "yes" : "no"} ${this.task.id} ${quoted(`${stem}.zip`)}` }]),
    ];
  }

  // Showing

  chips(name, options) {
    return html`<div class="chips">${options.map(
      ([value, words, color]) => html`<button type="button" class="toggle" aria-pressed=${this.wanted[name].includes(value)} @click=${() => this.toggle(name, value)}>
        ${color ? html`<ap-dot .color=${color}></ap-dot>` : nothing}<span class="clip">${words}</span></button>`,
    )}</div>`;
  }

  /** What would be in the zip, of what there is. */
  tally() {
    const selection = this.counts?.selection;
    if (!selection) return html`<p class="fine" role="status">${this.counting ? "Counting …" : ""}</p>`;
    const rows = Object.entries(selection).map(([name, told]) => [name === "images" ? ["pictures", "picture"] : KINDS[name], told]);
    const unknown = this.counts.problems.filter((problem) => problem.code === "selection.unknown");
    return html`<div class="tally ${this.counting ? "is-old" : ""}" role="status" aria-label="What would be in the zip">
      ${rows.map(([[many, one], { before, after }]) => html`<div><strong>${count(after)}</strong> <span>of ${count(before)}</span> <span class="fine">${before === 1 ? one : many}</span></div>`)}
      ${selection.images.after ? nothing : html`<p class="warn">No picture is like that: the zip would be empty.</p>`}
      ${unknown.slice(0, 5).map((problem) => html`<p class="warn wrap-anywhere">${problem.message}</p>`)}
    </div>`;
  }

  choice() {
    const { wanted: part, stats } = this;
    const names = this.labels.filter((label) => label.name.toLowerCase().includes(this.search.trim().toLowerCase()) || part.classes.includes(label.name));
    const subsets = stats ? subsetsOf(stats).filter(Boolean) : [];
    const flags = (stats?.flags ?? []).filter((flag) => flag.yes).map((flag) => [flag.name, FLAG_WORDS[flag.name] ?? flag.name]);
    const check = (name, words, fine) => html`<label class="check"><input type="checkbox" .checked=${part[name]} @change=${(event) => this.want({ [name]: event.target.checked })}><span>${words} <span class="fine">${fine}</span></span></label>`;
    return html`<details class="part" ?open=${this.open} @toggle=${this.unfold}>
      <summary>Only a part of it ${this.isPart ? html`<span class="chip">chosen</span>` : nothing}</summary>
      ${this.open
        ? html`<div class="stack part-body">
            <fieldset class="stack tight"><legend>Labels</legend>
              ${this.labels.length > MANY ? html`<label class="field search">${icon("search")}<span class="away">Search labels</span><input type="search" placeholder="Search ${count(this.labels.length)} labels" .value=${this.search} @input=${(event) => (this.search = event.target.value)}></label>` : nothing}
              ${this.chips("classes", names.slice(0, MANY + part.classes.length).map((label) => [label.name, label.name, label.color]))}</fieldset>
            ${subsets.length > 1 ? html`<fieldset class="stack tight"><legend>Subsets</legend>${this.chips("subsets", subsets.map((name) => [name, name]))}</fieldset>` : nothing}
            <fieldset class="stack tight"><legend>Kinds</legend>${this.chips("label_types", ["detections", "segmentations", "classifications", "points"].map((name) => [name, KINDS[name][0]]))}</fieldset>
            ${flags.length ? html`<fieldset class="stack tight"><legend>Said to be</legend>${this.chips("attributes", flags)}</fieldset>` : nothing}
            <div class="row wrap top">
              <label class="stack tight short"><span class="name">Score from</span><input inputmode="decimal" placeholder="0" .value=${part.min_confidence} @input=${(event) => this.want({ min_confidence: numberText(event.target.value, 1) })}></label>
              <label class="stack tight short"><span class="name">Pictures at most</span><input inputmode="numeric" placeholder="all" .value=${part.max_images} @input=${(event) => this.want({ max_images: numberText(event.target.value) })}></label>
            </div>
            <label class="stack tight"><span class="name">These pictures <span class="fine">one name a line</span></span><textarea rows="2" spellcheck="false" .value=${part.image_ids} @input=${(event) => this.want({ image_ids: event.target.value })}></textarea></label>
            ${part.classes.length || part.attributes.length ? check("only_matching", "Leave out what is not chosen", "of the pictures that stay") : nothing}
            ${check("annotated_only", "Only pictures with annotations", "")}
            ${this.isPart ? html`<button type="button" class="button small own-width" @click=${() => this.want({ ...NO_PART })}>Take all of it again</button>` : nothing}
          </div>`
        : nothing}
    </details>`;
  }

  render() {
    const radio = (/** @type {string} */ value, /** @type {string[]} */ [name, fine]) => html`<label class="check"><input type="radio" name="layout" .checked=${this.layout === value} @change=${() => (this.layout = value)}><span>${name} <span class="fine">${fine}</span></span></label>`;
    const { size } = this.task;
    const chosen = this.isPart && this.counts ? this.counts.selection.images.after : size;
    return html`<div class="sides even">
      <section class="panel stack">
        <h2>Export</h2>
        <label class="stack tight"><span class="name">Format</span>
          <select @change=${(event) => (this.format = event.target.value)}>
            ${(this.formats.length ? this.formats : [{ name: this.format }]).map((one) => html`<option value=${one.name} ?selected=${one.name === this.format}>${one.name}</option>`)}
          </select></label>
        <fieldset class="stack tight"><legend>Layout of the zip</legend>${Object.entries(LAYOUTS).map(([value, words]) => radio(value, words))}</fieldset>
        <label class="check"><input type="checkbox" .checked=${this.pictures} @change=${(event) => (this.pictures = event.target.checked)}>
          <span>With the pictures <span class="fine">${counted(chosen, "picture")}, as they were uploaded</span></span></label>
        ${this.choice()}
      </section>
      <div class="stack side-sticky">
      <section class="panel stack">
        <h2 class="clip">${this.task.name}.zip</h2>
        ${this.open ? this.tally() : html`<p>${counted(size, "picture")} <span class="fine">with everything that was said of ${size === 1 ? "it" : "them"}</span></p>`}
        <div class="row wrap">
          <a class="button primary big" href=${this.url.pathname + this.url.search} download aria-label="Download ${this.task.name}.zip">${icon("download")} Download</a>
          <button type="button" class="button" ?disabled=${this.asking} @click=${() => this.prepare()}>Prepare it first</button>
        </div>
        <p class="fine">The download starts at once and is written as it goes. A prepared one shows its progress, and can be paused, resumed and fetched again.</p>
        <ap-commands .lines=${this.lines()}></ap-commands>
      </section>
      <section class="panel">
        <h2>Prepared exports</h2>
        ${this.requests === null
          ? html`<p class="fine">Loading …</p>`
          : this.requests.length
            ? requestRows(this.requests, { onCancel: (request) => this.cancel(request), onAgain: (request) => this.again(request) })
            : html`<div class="nothing small"><p>Nothing has been prepared yet.</p></div>`}
      </section>
      </div>
    </div>`;
  }
}

/** What was typed, if it is a number in its range; else nothing, so that a half-typed one asks for nothing. */
function numberText(typed, most = Infinity) {
  const text = typed.trim().replace(",", ".");
  return text !== "" && Number(text) >= 0 && Number(text) <= most && (most === 1 || /^\d+$/.test(text)) ? text : "";
}

customElements.define("ap-export", Export);
