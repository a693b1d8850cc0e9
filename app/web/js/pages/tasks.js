import { address, get, remove } from "../api.js";
import { Part, html, icon, nothing } from "../dom.js";
import { ago, count, counted, moment } from "../format.js";
import { go, hand, note } from "../router.js";
import { curlLogin, cvat, quoted } from "../parts/commands.js";
import { toast, toastError } from "../parts/toasts.js";
import { repeat } from "lit-html/directives/repeat.js";

const PAGE = 24;
const SORTS = { "-updated_date": "Last changed", "-id": "Newest", name: "Name" };

/** Every task, as cards. */
class Tasks extends Part {
  static properties = {
    user: { attribute: false },
    tasks: { state: true },
    total: { state: true },
    facts: { state: true },
    gone: { state: true },
    busy: { state: true },
    search: { state: true },
    sort: { state: true },
    failed: { state: true },
  };

  constructor() {
    super();
    /** @type {Who} */
    this.user = null;
    const query = new URLSearchParams(location.search);
    this.search = query.get("search") ?? "";
    this.sort = query.get("sort") in SORTS ? query.get("sort") : "-updated_date";
    this.tasks = [];
    this.total = null;
    this.facts = {};
    this.gone = new Set();
    this.busy = false;
    this.failed = null;
    this.page = 0;
    this.leaving = () => this.deleteNow();
    this.pending = new Map();
  }

  connectedCallback() {
    super.connectedCallback();
    document.title = "Tasks · annoport";
    window.addEventListener("pagehide", this.leaving);
    this.load();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    window.removeEventListener("pagehide", this.leaving);
  }

  async load(more = false) {
    const turn = (this.turn = (this.turn ?? 0) + 1);
    this.busy = true;
    this.failed = null;
    const page = more ? this.page + 1 : 1;
    try {
      const found = await get("/api/tasks", { page, page_size: PAGE, search: this.search, sort: this.sort });
      if (turn !== this.turn) return;
      this.page = page;
      this.total = found.count;
      this.tasks = more ? [...this.tasks, ...found.results] : found.results;
      this.busy = false;
      if (found.results.length) {
        const facts = await get("/api/stats", { tasks: found.results.map((task) => task.id).join(",") });
        this.facts = { ...this.facts, ...facts.tasks };
      }
    } catch (error) {
      if (turn !== this.turn) return;
      this.busy = false;
      if (this.total === null) this.failed = error;
      else toastError(error);
    }
  }

  type(event) {
    this.search = event.target.value;
    note({ search: this.search });
    clearTimeout(this.typing);
    this.typing = setTimeout(() => this.load(), 200);
  }

  delete(task) {
    this.gone = new Set([...this.gone, task.id]);
    const back = () => {
      this.pending.delete(task.id);
      this.gone = new Set([...this.gone].filter((id) => id !== task.id));
    };
    const end = async () => {
      if (!this.pending.delete(task.id)) return;
      try {
        await remove(`/api/tasks/${task.id}`);
        this.total -= 1;
        this.tasks = this.tasks.filter((one) => one.id !== task.id);
      } catch (error) {
        back();
        toastError(error);
      }
    };
    this.pending.set(task.id, end);
    toast(`Deleted “${task.name}”`, { action: "Undo", onAction: back, onEnd: end, seconds: 7 });
  }

  /** The page is closing: what was deleted and not taken back goes now. */
  deleteNow() {
    for (const id of this.pending.keys()) remove(`/api/tasks/${id}`, { keepalive: true }).catch(() => {});
    this.pending.clear();
  }

  dropped(event) {
    hand(event.detail);
    go("/tasks/new");
  }

  lines() {
    return [
      { name: "curl", text: `curl${curlLogin(this.user)} ${quoted(address("/api/tasks", { search: this.search, sort: this.sort }).href)}` },
      { name: "cvat-cli", text: `${cvat(this.user)} task ls` },
    ];
  }

  card(task) {
    const facts = this.facts[task.id];
    const labels = facts?.labels ?? [];
    return html`<li class="card">
      <div class="shot">
          ${task.size
            ? html`<img src="/api/tasks/${task.id}/preview" alt="" loading="lazy" width="256" height="168">`
            : html`<span class="shot-empty">${icon("image")}</span>`}
      </div>
        <div class="card-body">
          <a class="card-link clip" href="/tasks/${task.id}" title=${task.name}>${task.name}</a>
          <span class="fine">${counted(task.size ?? 0, "picture")}${facts ? html` · ${counted(facts.shapes, "shape")}${facts.tags ? html` · ${counted(facts.tags, "tag")}` : nothing}` : nothing}</span>
          <span class="labels">${labels.slice(0, 3).map((label) => html`<span class="label"><ap-dot .color=${label.color}></ap-dot><span class="clip">${label.name}</span></span>`)}
            ${facts && facts.n_labels > 3 ? html`<span class="fine">+${count(facts.n_labels - 3)}</span>` : nothing}</span>
          <time class="fine" datetime=${task.updated_date} title=${moment(task.updated_date)}>Changed ${ago(task.updated_date)}</time>
        </div>
      <div class="card-foot">
        ${task.size
          ? html`<a class="button small quiet" href="/tasks/${task.id}/import" aria-label="Import into ${task.name}">${icon("upload")} Import</a>
              <a class="button small quiet" href="/tasks/${task.id}/export" aria-label="Export ${task.name}">${icon("download")} Export</a>`
          : nothing}
        <span class="grow"></span>
        <button type="button" class="button small quiet square" aria-label="Delete ${task.name}" title="Delete" @click=${() => this.delete(task)}>${icon("trash")}</button>
      </div>
    </li>`;
  }

  empty() {
    return html`<section class="welcome">
      <h1>Annotations in, annotations out</h1>
      <p class="lead">Drop pictures, or a zip that holds pictures and their annotations. You see what is in it before anything is kept.</p>
      <ap-drop whole multiple folders heading="Drop pictures or a zip here" hint="JPEG, PNG, WebP, GIF, BMP, TIFF; an Open Images zip brings its own labels"
        @ap-files=${this.dropped}></ap-drop>
      <p class="row center wrap">Nothing at hand? <a class="button" href="/tasks/new?sample=1">${icon("image")} Try it with a sample</a>
        <a class="button quiet" href="/help">${icon("help")} How a zip should look</a></p>
    </section>`;
  }

  render() {
    if (this.failed) {
      return html`<main class="page" id="main"><div class="notice bad" role="alert">${icon("error")} <span class="grow">${this.failed.message}</span>
        <button type="button" class="button small" @click=${() => this.load()}>Try again</button></div></main>`;
    }
    if (this.total === 0 && !this.search) return html`<main class="page" id="main">${this.empty()}</main>`;
    const shown = this.tasks.filter((task) => !this.gone.has(task.id));
    return html`<main class="page" id="main">
      <div class="row wrap head">
        <h1 class="grow">Tasks ${this.total === null ? nothing : html`<span class="fine">${count(this.total - this.gone.size)}</span>`}</h1>
        <label class="field search">${icon("search")}<span class="away">Search tasks</span>
          <input type="search" placeholder="Search" .value=${this.search} @input=${this.type} data-key="/"></label>
        <label class="field"><span class="away">Order</span>
          <select @change=${(event) => {
            this.sort = event.target.value;
            note({ sort: this.sort });
            this.load();
          }}>${Object.entries(SORTS).map(([value, name]) => html`<option value=${value} ?selected=${value === this.sort}>${name}</option>`)}</select></label>
        <a class="button primary" href="/tasks/new" data-key="n">${icon("add")} New task</a>
      </div>
      ${this.total === null
        ? html`<ul class="cards" aria-hidden="true">${[0, 1, 2, 3].map(() => html`<li class="card ghost"></li>`)}</ul>`
        : shown.length
          ? html`<ul class="cards">${repeat(shown, (task) => task.id, (task) => this.card(task))}</ul>`
          : html`<div class="nothing"><p>${this.search ? html`No task is called anything like “${this.search}”.` : "No task is left."}</p></div>`}
      ${this.tasks.length < (this.total ?? 0) ? html`<p class="row center"><button type="button" class="button" ?disabled=${this.busy} @click=${() => this.load(true)}>Show more</button></p>` : nothing}
      <ap-commands .lines=${this.lines()}></ap-commands>
      <ap-whole-drop @ap-files=${this.dropped}></ap-whole-drop>
    </main>`;
  }
}

customElements.define("ap-tasks", Tasks);
