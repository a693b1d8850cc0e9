import { Part, freshId, html, icon, nothing } from "../dom.js";

/** @typedef {{file: File, name: string}} Dropped a file and its path within what was dropped */

async function* walk(entry, folder = "") {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    yield { file, name: folder + file.name };
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!batch.length) return;
    for (const child of batch) yield* walk(child, `${folder}${entry.name}/`);
  }
}

/** Every file of a drop, those in folders too. @returns {Promise<Dropped[]>} */
export async function filesOf(transfer) {
  const items = [...transfer.items].filter((item) => item.kind === "file");
  const entries = items.map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const found = [];
  for (const entry of entries) {
    if (entry instanceof File) found.push({ file: entry, name: entry.name });
    else if (entry) for await (const one of walk(entry)) found.push(one);
  }
  return found;
}

const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");

/**
 * A place to drop files on: the box itself, and (with `whole`) the whole window. The button opens the file dialog.
 * Tells `ap-files` with a list of `Dropped`.
 */
class Drop extends Part {
  static properties = {
    heading: {},
    hint: {},
    button: {},
    accept: {},
    multiple: { type: Boolean },
    whole: { type: Boolean },
    folders: { type: Boolean },
    small: { type: Boolean },
    over: { state: true },
  };

  constructor() {
    super();
    this.heading = "Drop files here";
    this.hint = "";
    this.button = "Choose files";
    this.accept = "";
    this.multiple = false;
    this.whole = false;
    this.folders = false;
    this.small = false;
    this.over = 0;
    this.inputId = freshId("file");
    this.enter = (event) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      this.over += 1;
    };
    this.leave = (event) => {
      if (holdsFiles(event)) this.over = Math.max(0, this.over - 1);
    };
    this.hover = (event) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      event.dataTransfer.dropEffect = "copy";
    };
    this.drop = async (event) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      this.over = 0;
      this.give(await filesOf(event.dataTransfer));
    };
  }

  connectedCallback() {
    super.connectedCallback();
    const target = this.whole ? window : this;
    target.addEventListener("dragenter", this.enter);
    target.addEventListener("dragleave", this.leave);
    target.addEventListener("dragover", this.hover);
    target.addEventListener("drop", this.drop);
    this.target = target;
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.target.removeEventListener("dragenter", this.enter);
    this.target.removeEventListener("dragleave", this.leave);
    this.target.removeEventListener("dragover", this.hover);
    this.target.removeEventListener("drop", this.drop);
  }

  give(files) {
    if (files.length) this.tell("ap-files", this.multiple ? files : files.slice(0, 1));
  }

  chosen(event) {
    const files = [...event.target.files].map((file) => ({ file, name: file.webkitRelativePath || file.name }));
    event.target.value = "";
    this.give(files);
  }

  open(event) {
    const input = /** @type {HTMLInputElement} */ (this.querySelector("input[type=file]"));
    input.toggleAttribute("webkitdirectory", event.currentTarget.dataset.folder === "yes");
    input.click();
  }

  render() {
    return html`
      <div class="drop ${this.over ? "is-over" : ""} ${this.small ? "is-small" : ""}">
        <input class="away" type="file" tabindex="-1" aria-hidden="true" id=${this.inputId}
          ?multiple=${this.multiple} accept=${this.accept || nothing} @change=${this.chosen}>
        <div class="drop-art">${icon("upload")}</div>
        <p class="drop-heading">${this.heading}</p>
        ${this.hint ? html`<p class="drop-hint">${this.hint}</p>` : nothing}
        <div class="row center">
          <button type="button" class="button ${this.small ? "" : "primary"}" data-folder="no" @click=${this.open}>${this.button}</button>
          ${this.folders ? html`<button type="button" class="button" data-folder="yes" @click=${this.open}>Choose a folder</button>` : nothing}
        </div>
      </div>
      ${this.over && this.whole ? html`<div class="veil" aria-hidden="true"><p>${icon("upload")} Let go to add</p></div>` : nothing}
    `;
  }
}

customElements.define("ap-drop", Drop);
