import { patch, post, remove, untilFinal } from "../api.js";
import { Part, html, icon, nothing } from "../dom.js";
import { count, counted, fileSize } from "../format.js";
import { SERVICE, go, hand, takeHanded } from "../router.js";
import { isPictureName, labelsOf, survey } from "../tables.js";
import { finishUpload, sendGroups, sendResumable } from "../upload.js";
import { NotAZip, bytesOfEntry, cutZip, looksLikeZip, makeZip, openZip } from "../zip.js";
import { curlJSON, curlLogin, cvat, formFile, quoted } from "../parts/commands.js";
import { bar } from "../parts/progress.js";
import { toastError } from "../parts/toasts.js";

const PALETTE = ["#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#f032e6", "#9a6324", "#b8860b", "#1e90ff", "#c2185b", "#558b2f"];
const FLAGS = ["truncated", "is_group_of", "is_depiction", "is_inside"];
/** With all that Open Images says of each they are a megabyte; a call takes four. */
const LABELS_A_CALL = 2000;
const THUMBS = 7;
const THUMB_BYTES = 12 << 20;

/** What Open Images can say of an annotation, as attributes of a label. */
export function openImagesAttributes() {
  return [
    ...FLAGS.map((name) => ({ name, mutable: false, input_type: "checkbox", default_value: "false", values: ["false"] })),
    { name: "score", mutable: false, input_type: "text", default_value: "", values: [""] },
  ];
}

/** Names from what people type or paste: lines, commas, or CVAT's label JSON. */
export function namesFrom(text) {
  const trimmed = text.trim();
  if (trimmed.startsWith("[")) {
    try {
      const parsed = JSON.parse(trimmed);
      if (Array.isArray(parsed)) return parsed.map((label) => (typeof label === "string" ? label : String(label?.name ?? ""))).filter(Boolean);
    } catch {
      // Not JSON after all.
    }
  }
  return trimmed.split(/[\n,;]+/).map((name) => name.trim()).filter(Boolean);
}

/** Add and change labels of a task or project, in as many calls as they need. */
export async function patchLabels(path, labels) {
  for (let from = 0; from < labels.length; from += LABELS_A_CALL) {
    await patch(path, { labels: labels.slice(from, from + LABELS_A_CALL) });
  }
}

/** A new task: pictures, labels, a name; all at once. */
class NewTask extends Part {
  static properties = {
    user: { attribute: false },
    name: { state: true },
    labels: { state: true },
    typed: { state: true },
    pictures: { state: true },
    zip: { state: true },
    found: { state: true },
    withAnnotations: { state: true },
    withFlags: { state: true },
    looking: { state: true },
    refused: { state: true },
    stage: { state: true },
    upload: { state: true },
    work: { state: true },
    thumbs: { state: true },
  };

  constructor() {
    super();
    /** @type {Who} */
    this.user = null;
    this.reset();
    this.leaving = (event) => {
      if (this.stage) event.preventDefault();
    };
  }

  reset() {
    this.name = "";
    this.nameIsTyped = false;
    this.labels = [];
    this.typed = "";
    /** @type {{file: File, name: string}[]} */
    this.pictures = [];
    this.zip = null;
    this.found = null;
    this.withAnnotations = true;
    this.withFlags = true;
    this.looking = false;
    this.refused = "";
    this.stage = "";
    this.upload = null;
    this.work = null;
    this.task = null;
    for (const address of this.thumbs ?? []) URL.revokeObjectURL(address);
    /** @type {string[]} the first pictures, as one sees them */
    this.thumbs = [];
  }

  /** Show some of what was taken: whether it is what was meant is seen at once. */
  async preview() {
    const { zip, found, pictures } = this;
    const shown = [];
    try {
      /** @type {(() => Promise<BlobPart> | BlobPart)[]} */
      const readers = zip
        ? found.pictures.filter(({ size }) => size <= THUMB_BYTES).map(({ entry }) => () => bytesOfEntry(zip, entry))
        : pictures.filter(({ file }) => file.size <= THUMB_BYTES).map(({ file }) => () => file);
      for (const read of readers.slice(0, THUMBS)) shown.push(URL.createObjectURL(new Blob([await read()])));
    } catch {
      // A damaged picture is told of by the service, which reads them all.
    }
    for (const address of this.thumbs) URL.revokeObjectURL(address);
    this.thumbs = shown;
  }

  shots() {
    return this.thumbs.length
      ? html`<div class="thumbs" aria-hidden="true">${this.thumbs.map((address) => html`<img src=${address} alt="" decoding="async" @error=${(event) => event.target.remove()}>`)}</div>`
      : nothing;
  }

  connectedCallback() {
    super.connectedCallback();
    document.title = "New task · annoport";
    window.addEventListener("beforeunload", this.leaving);
    const handed = takeHanded();
    if (handed) this.take(handed);
    else if (new URLSearchParams(location.search).has("sample")) this.takeSample();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    window.removeEventListener("beforeunload", this.leaving);
    if (this.stage === "sending") this.upload?.cancel();
  }

  async takeSample() {
    try {
      const answer = await fetch(`${SERVICE}/samples/open-images-sample.zip`);
      const file = new File([await answer.blob()], "open-images-sample.zip", { type: "application/zip", lastModified: 0 });
      this.name = "Harbour";
      this.nameIsTyped = true;
      await this.take([{ file, name: file.name }]);
    } catch (error) {
      toastError(error);
    }
  }

  async take(dropped) {
    this.refused = "";
    const zips = [];
    for (const one of dropped) if (dropped.length <= 3 && (await looksLikeZip(one.file))) zips.push(one);
    if (zips.length === 1 && dropped.length === 1) return this.takeZip(zips[0].file);
    const pictures = dropped.filter(({ name }) => isPictureName(name));
    if (!pictures.length) {
      this.refused = `${dropped.length === 1 ? `“${dropped[0].name}” is` : "These are"} neither pictures nor one zip. Pictures are JPEG, PNG, WebP, GIF, BMP or TIFF.`;
      return;
    }
    const known = new Set(this.pictures.map(({ name }) => name));
    this.zip = null;
    this.found = null;
    this.pictures = [...this.pictures, ...pictures.filter(({ name }) => !known.has(name))];
    this.preview();
    const left = dropped.length - pictures.length;
    if (left) this.refused = `${counted(left, "file")} left out: not a picture.`;
    const folder = pictures[0].name.split("/").length > 1 ? pictures[0].name.split("/")[0] : "";
    this.suggest(folder || (pictures.length === 1 ? pictures[0].name.replace(/\.[^.]+$/, "") : ""));
  }

  async takeZip(file) {
    this.looking = true;
    try {
      this.zip = await openZip(file);
      this.found = survey(this.zip);
      this.pictures = [];
      this.file = file;
      if (!this.found.pictures.length) {
        this.refused = this.found.isAnnotations
          ? "This zip holds annotations, but no pictures. Make the task from its pictures first, then import the zip into it."
          : "There are no pictures in this zip.";
        this.zip = null;
        return;
      }
      this.suggest(file.name.replace(/\.zip$/i, ""));
      this.preview();
      if (this.found.isAnnotations) {
        const { names } = await labelsOf(this.zip, this.found);
        this.addLabels(names);
      }
    } catch (error) {
      this.zip = null;
      this.refused = error instanceof NotAZip ? `“${file.name}”: ${error.message}.` : error.message;
    } finally {
      this.looking = false;
    }
  }

  suggest(name) {
    if (!this.nameIsTyped && name) this.name = name.slice(0, 256);
  }

  addLabels(names) {
    const known = new Set(this.labels.map((label) => label.name));
    const added = [];
    for (const name of names) {
      const cut = name.slice(0, 64);
      if (!cut || known.has(cut)) continue;
      known.add(cut);
      added.push({ name: cut, color: PALETTE[(this.labels.length + added.length) % PALETTE.length] });
    }
    this.labels = [...this.labels, ...added];
  }

  commitTyped() {
    if (!this.typed.trim()) return;
    this.addLabels(namesFrom(this.typed));
    this.typed = "";
  }

  labelKey(event) {
    if ((event.key === "Enter" || event.key === ",") && this.typed.trim()) {
      event.preventDefault();
      this.commitTyped();
    } else if (event.key === "Backspace" && !this.typed && this.labels.length) {
      this.labels = this.labels.slice(0, -1);
    }
  }

  labelPaste(event) {
    const text = event.clipboardData.getData("text");
    const names = namesFrom(text);
    if (names.length > 1) {
      event.preventDefault();
      this.addLabels(names);
    }
  }

  get missing() {
    if (!this.pictures.length && !this.zip) return "Add pictures first";
    if (!this.name.trim()) return "Give it a name first";
    return "";
  }

  get brings() {
    return Boolean(this.zip && this.found?.isAnnotations && this.withAnnotations);
  }

  async create(event) {
    event.preventDefault();
    this.commitTyped();
    if (this.missing || this.stage) return;
    this.refused = "";
    this.stage = "making";
    try {
      const attributes = this.brings && this.withFlags ? openImagesAttributes() : [];
      const labels = this.labels.map((label) => ({ ...label, attributes }));
      this.task ??= await post("/api/tasks", { name: this.name.trim(), labels: labels.slice(0, LABELS_A_CALL) });
      await patchLabels(`/api/tasks/${this.task.id}`, labels.slice(LABELS_A_CALL));
      const endpoint = `/api/tasks/${this.task.id}/data`;
      const rqId = await this.send(endpoint);
      this.stage = "reading";
      const done = await untilFinal(rqId, (request) => (this.work = request));
      if (done.status === "failed") throw new Error(done.message);
      if (this.brings) {
        hand([{ file: this.file, name: this.file.name, isNew: true }]);
        go(`/tasks/${this.task.id}/import`);
      } else {
        go(`/tasks/${this.task.id}`);
      }
    } catch (error) {
      if (this.upload?.state === "cancelled") this.refused = "";
      else this.refused = error.message;
      this.stage = "";
      this.upload = null;
      this.work = null;
      await this.forget();
    }
  }

  /** A task that got no pictures is of no use. */
  async forget() {
    if (!this.task) return;
    const { id } = this.task;
    this.task = null;
    await remove(`/api/tasks/${id}`).catch(() => {});
  }

  /** Pictures to the service; answers the id of the work that reads them. */
  async send(endpoint) {
    const names = this.zip ? this.found.pictures.map((file) => file.path) : this.pictures.map(({ name }) => name);
    const params = { image_quality: 70, sorting_method: orderOf(names) };
    this.stage = "sending";
    if (this.zip || needsFolders(this.pictures)) {
      const name = this.zip ? this.file.name : "pictures.zip";
      /** @type {Blob} */
      const body = this.zip ? cutZip(this.zip, (entry) => isPictureEntry(this.found, entry)) : await makeZip(this.pictures);
      this.upload = sendResumable(endpoint, body, plainName(name), this.zip ? this.file : body);
      await this.upload.done;
    } else {
      this.upload = sendGroups(endpoint, this.pictures.map(({ file }) => ({ file, name: file.name })));
      await this.upload.done;
    }
    return finishUpload(endpoint, {}, params);
  }

  things() {
    if (this.zip) {
      const tables = this.found.tables.filter((file) => file.kind !== "classes" && file.kind !== "images").length;
      return html`<div class="picked">
        ${icon("file")}
        <div class="grow">
          <strong class="clip">${this.file.name}</strong>
          <span class="fine">${counted(this.found.pictures.length, "picture")}, ${fileSize(this.found.pictureBytes)}${this.found.isAnnotations
            ? html` · ${counted(tables, "table")} of annotations${this.found.masks.length ? html`, ${counted(this.found.masks.length, "mask")}` : nothing}`
            : nothing}</span>
        </div>
        <button type="button" class="button small" @click=${() => this.reset()}>Choose something else</button>
      </div>${this.shots()}`;
    }
    if (this.pictures.length) {
      const bytes = this.pictures.reduce((sum, { file }) => sum + file.size, 0);
      return html`<div class="picked">
        ${icon("image")}
        <div class="grow"><strong>${counted(this.pictures.length, "picture")}</strong> <span class="fine">${fileSize(bytes)}</span>
          <div class="fine clip">${this.pictures.slice(0, 6).map(({ name }) => name).join(", ")}${this.pictures.length > 6 ? " …" : ""}</div></div>
        <button type="button" class="button small" @click=${() => {
          this.pictures = [];
          this.preview();
        }}>Start over</button>
      </div>${this.shots()}`;
    }
    return nothing;
  }

  /** The same by hand: `$ID` is what the first line answers. */
  lines() {
    const files = this.zip ? [this.file.name] : this.pictures.slice(0, 20).map(({ file }) => file.name);
    if (!files.length) files.push("a.jpg", "b.jpg");
    const attributes = this.brings && this.withFlags ? openImagesAttributes() : undefined;
    const labels = this.labels.map(({ name }) => ({ name, attributes }));
    const login = curlLogin(this.user);
    const data = `${SERVICE}/api/tasks/$ID`;
    const name = this.name.trim() || "pets";
    return [
      { name: "Make it", text: curlJSON(this.user, "POST", "/api/tasks", { name, labels }) },
      { name: "Pictures", text: `curl${login} "${data}/data" -F image_quality=70 ${files.map((file, index) => `${formFile(`client_files[${index}]`, file)}`).join(" ")}` },
      ...(this.brings ? [{ name: "Import", text: `curl${login} ${formFile("file", this.file.name)} "${data}/import?wait=60"` }] : []),
      { name: "cvat-cli", text: `${cvat(this.user)} task create ${quoted(name)} --labels ${quoted(JSON.stringify(labels.map((label) => ({ name: label.name, attributes: label.attributes ?? [] }))))} local ${files.map(quoted).join(" ")}` },
    ];
  }

  progress() {
    const words = { making: "Making the task", sending: "Sending the pictures", reading: "Reading the pictures" };
    return html`<section class="panel" aria-live="polite">
      <h2>${words[this.stage]} …</h2>
      ${this.stage === "sending" && this.upload ? html`<ap-upload .upload=${this.upload} name=${this.name}></ap-upload>` : bar(this.stage === "reading" ? (this.work?.progress ?? null) : null, words[this.stage])}
      ${this.stage === "reading" ? html`<p class="fine">${this.work?.message || "Finding each picture's size"}</p>` : nothing}
    </section>`;
  }

  render() {
    return html`<main class="page narrow" id="main">
      <h1>New task</h1>
      ${this.refused ? html`<div class="notice ${this.pictures.length ? "warn" : "bad"}" role="alert">${icon("warning")} <span>${this.refused}</span></div>` : nothing}
      ${this.stage
        ? this.progress()
        : html`<form class="stack" @submit=${this.create}>
            ${this.things()}
            ${this.zip
              ? html`<ap-whole-drop @ap-files=${(event) => this.take(event.detail)}></ap-whole-drop>`
              : html`<ap-drop whole multiple folders ?small=${Boolean(this.pictures.length)}
                  heading=${this.looking ? "Looking inside …" : this.pictures.length ? "Drop more pictures" : "Drop pictures, a folder or a zip"}
                  hint=${this.pictures.length ? "" : "A zip may hold the annotations too: labels are then taken from it"}
                  @ap-files=${(event) => this.take(event.detail)}></ap-drop>`}
            <label class="stack tight"><span class="name">Name</span>
              <input name="name" required maxlength="256" autocomplete="off" .value=${this.name} @input=${(event) => {
                this.name = event.target.value;
                this.nameIsTyped = Boolean(this.name);
              }}></label>
            <div class="stack tight">
              <label class="name" for="label-input">Labels ${this.labels.length ? html`<span class="fine">${count(this.labels.length)}</span>` : nothing}</label>
              <div class="tokens">
                ${this.labels.slice(0, 60).map(
                  (label) => html`<span class="label removable"><ap-dot .color=${label.color}></ap-dot><span class="clip">${label.name}</span>
                    <button type="button" class="plain" aria-label="Remove the label ${label.name}" @click=${() => (this.labels = this.labels.filter((one) => one !== label))}>${icon("close")}</button></span>`,
                )}
                ${this.labels.length > 60 ? html`<span class="fine">and ${count(this.labels.length - 60)} more</span>` : nothing}
                <input id="label-input" autocomplete="off" placeholder=${this.labels.length ? "Another" : "cat, dog, …"} .value=${this.typed}
                  @input=${(event) => (this.typed = event.target.value)} @keydown=${this.labelKey} @paste=${this.labelPaste} @blur=${() => this.commitTyped()}>
              </div>
              <p class="fine">Type a name and press Enter, or paste a list.</p>
            </div>
            ${this.zip && this.found?.isAnnotations
              ? html`<fieldset class="stack tight"><legend class="away">Annotations</legend>
                  <label class="check"><input type="checkbox" .checked=${this.withAnnotations} @change=${(event) => (this.withAnnotations = event.target.checked)}>
                    <span>Import the annotations too <span class="fine">you see them before they are kept</span></span></label>
                  <label class="check"><input type="checkbox" .checked=${this.withFlags} ?disabled=${!this.withAnnotations} @change=${(event) => (this.withFlags = event.target.checked)}>
                    <span>Show what Open Images says of each box <span class="fine">truncated, group of, depiction, inside, score</span></span></label>
                </fieldset>`
              : nothing}
            <div class="row end">
              ${this.missing ? html`<span class="fine" id="missing">${this.missing}</span>` : nothing}
              <button type="submit" class="button primary big" ?disabled=${Boolean(this.missing)} aria-describedby=${this.missing ? "missing" : nothing}>
                ${this.brings ? "Create and look at the annotations" : "Create"}</button>
            </div>
          </form>
          <ap-commands .lines=${this.lines()}></ap-commands>`}
    </main>`;
  }
}

function isPictureEntry(found, entry) {
  found.pictureNames ??= new Set(found.pictures.map((file) => file.path));
  return found.pictureNames.has(entry.name);
}

/** Forms carry base names only: where two are equal, folders must be kept. */
function needsFolders(pictures) {
  return new Set(pictures.map(({ file }) => file.name)).size < pictures.length;
}

/** Numbers in names count as numbers (img2 before img10), unless the names are hexadecimal ids. */
function orderOf(names) {
  const areIds = names.every((name) => /^[0-9a-f]{12,}$/i.test(name.split("/").at(-1).replace(/\.[^.]*$/, "")));
  return areIds ? "lexicographical" : "natural";
}

const plainName = (name) => name.split(/[\\/]/).at(-1) || "upload.zip";

customElements.define("ap-new-task", NewTask);
