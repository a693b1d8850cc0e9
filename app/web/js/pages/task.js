import { APIError, all, get, patch } from "../api.js";
import { Part, html, icon, nothing } from "../dom.js";
import { counted } from "../format.js";
import { ROOT, go } from "../router.js";
import { toast, toastError } from "../parts/toasts.js";
import "./viewer.js";
import "./import.js";
import "./health.js";
import "./export.js";
import "./labels.js";

const TABS = [
  ["pictures", "Pictures", "image"],
  ["health", "Health", "activity"],
  ["labels", "Labels", "tag"],
  ["import", "Import", "upload"],
  ["export", "Export", "download"],
];

/** One task. */
class TaskPage extends Part {
  static properties = {
    taskId: { attribute: false },
    tab: { attribute: false },
    user: { attribute: false },
    task: { state: true },
    labels: { state: true },
    failed: { state: true },
    renaming: { state: true },
  };

  constructor() {
    super();
    /** @type {number} */
    this.taskId = 0;
    this.tab = "pictures";
    /** @type {Who} */
    this.user = null;
    /** @type {Label[]} */
    this.labels = [];
    /** @type {Task} */
    this.task = null;
    this.failed = null;
    this.renaming = false;
    this.revision = 0;
  }

  willUpdate(changes) {
    if (changes.has("taskId")) this.load();
  }

  updated() {
    if (this.task) document.title = `${this.task.name} · annoport`;
  }

  async load() {
    this.failed = null;
    try {
      const [task, labels] = await Promise.all([get(`/api/tasks/${this.taskId}`), all("/api/labels", { task_id: this.taskId })]);
      this.task = task;
      this.labels = labels;
    } catch (error) {
      this.failed = error;
    }
  }

  async rename(event) {
    if (!this.renaming) return; // Enter is a change and then a blur, and what Escape takes away is blurred, too
    const name = event.target.value.trim();
    this.renaming = false;
    if (!name || name === this.task.name) return;
    try {
      this.task = await patch(`/api/tasks/${this.taskId}`, { name });
      toast("Renamed");
    } catch (error) {
      toastError(error);
    }
  }

  content() {
    const { task, labels, user } = this;
    if (!task.size && this.tab !== "labels") {
      return html`<div class="page"><div class="notice warn">${icon("image")} <span>This task has no pictures. They come with its making: <a href="/tasks/new">make a new task</a> from them.</span></div></div>`;
    }
    switch (this.tab) {
      case "import":
        return html`<div class="page"><ap-import .task=${task} .labels=${labels} .user=${user} @ap-labels-changed=${() => this.load()} @ap-imported=${() => (this.revision += 1)}></ap-import></div>`;
      case "health":
        return html`<div class="page"><ap-health .task=${task} .user=${user}></ap-health></div>`;
      case "export":
        return html`<div class="page"><ap-export .task=${task} .labels=${labels} .user=${user}></ap-export></div>`;
      case "labels":
        return html`<div class="page narrow"><ap-labels .task=${task} .labels=${labels} .user=${user} @ap-labels-changed=${() => this.load()}></ap-labels></div>`;
      default:
        return html`<ap-viewer .task=${task} .labels=${labels} .user=${user}></ap-viewer>`;
    }
  }

  render() {
    if (this.failed) {
      const isGone = this.failed instanceof APIError && this.failed.status === 404;
      return html`<main class="page narrow" id="main"><div class="nothing">
        <h1>${isGone ? "There is no such task" : "That did not work"}</h1>
        <p>${isGone ? "It may have been deleted, or it is somebody else's." : this.failed.message}</p>
        <p class="row center"><a class="button primary" href="/">To the tasks</a></p></div></main>`;
    }
    if (!this.task) return html`<main id="main" class="page"><span class="away">Loading</span></main>`;
    return html`<main id="main" class="task tab-${this.tab}">
      <div class="task-head">
        <a class="button quiet square" href="/" aria-label="All tasks" title="All tasks">${icon("back")}</a>
        ${this.renaming
          ? html`<input class="rename" aria-label="Name of the task" maxlength="256" .value=${this.task.name} @change=${this.rename} @blur=${this.rename}
              @keydown=${(event) => {
                if (event.key === "Escape") this.renaming = false;
                if (event.key === "Enter") event.target.blur();
              }}>`
          : html`<h1 class="clip"><button type="button" class="plain name-button" title="Rename" @click=${async () => {
              this.renaming = true;
              await this.updateComplete;
              /** @type {HTMLInputElement} */ (this.querySelector(".rename")).select();
            }}>${this.task.name}</button></h1>`}
        <span class="fine hide-small">${counted(this.task.size ?? 0, "picture")}</span>
        <nav class="tabs" aria-label="Task">
          ${TABS.map(
            ([tab, name, picture]) => html`<a href="/tasks/${this.taskId}${tab === "pictures" ? "" : `/${tab}`}" aria-current=${this.tab === tab ? "page" : nothing}
              @click=${(event) => {
                event.preventDefault();
                go(event.currentTarget.getAttribute("href").slice(ROOT.length));
              }}>${icon(picture)}<span>${name}</span></a>`,
          )}
        </nav>
      </div>
      ${this.content()}
    </main>`;
  }
}

customElements.define("ap-task", TaskPage);
