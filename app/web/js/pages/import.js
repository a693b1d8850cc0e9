import { APIError, call, get, untilFinal } from "../api.js";
import { Part, html, icon, nothing, svg } from "../dom.js";
import { ago, count, counted, fileSize, moment, percent } from "../format.js";
import { displayNames, forgetLooks, looksOf } from "../looks.js";
import { outcomeOf } from "../report.js";
import { SERVICE, takeHanded } from "../router.js";
import { survey } from "../tables.js";
import { finishUpload, forgetUpload, heldBytes, sendResumable, unfinishedUploads } from "../upload.js";
import { NotAZip, cutZip, looksLikeZip, makeZip, openZip } from "../zip.js";
import { curlLogin, cvat, formFile, quoted } from "../parts/commands.js";
import { bar } from "../parts/progress.js";
import { requestRows } from "../parts/requests.js";
import { toastError } from "../parts/toasts.js";

const SMALL = 4 << 20;
const FORMAT = "Open Images V6 1.0";
const LISTED_NAMES = 20;

/** A name as it stands in `map=`: an entry that holds a comma or a quote is quoted, = and \\ get a backslash. */
function entryOf({ kind, from, to }) {
  const [a, b] = [from, to].map((name) => name.replace(/[\\=]/g, "\\$&"));
  const entry = `${kind}:${a}=${b}`;
  return /[",\n]/.test(entry) ? `"${entry.replaceAll('"', '""')}"` : entry;
}

/** Drop a zip, see what it would do, let it. */
class Import extends Part {
  static properties = {
    task: { attribute: false },
    labels: { attribute: false },
    user: { attribute: false },
    stage: { state: true },
    file: { state: true },
    zip: { state: true },
    found: { state: true },
    whole: { state: true },
    upload: { state: true },
    work: { state: true },
    outcome: { state: true },
    result: { state: true },
    options: { state: true },
    existing: { state: true },
    unfinished: { state: true },
    refused: { state: true },
    looks: { state: true },
    names: { state: true },
    again: { state: true },
    earlier: { state: true },
  };

  constructor() {
    super();
    /** @type {Task} */
    this.task = null;
    /** @type {Who} */
    this.user = null;
    /** @type {Label[]} */
    this.labels = [];
    this.existing = null;
    this.earlier = [];
    /** @type {import("../upload.js").Unfinished[]} */
    this.unfinished = [];
    /** @type {{mode: string, missing: string, unmatched: string, labels: string, conv_mask_to_poly: boolean, map: {kind: string, from: string, to: string}[]}} */
    this.options = { mode: "replace", missing: "remove", unmatched: "error", labels: "match", conv_mask_to_poly: false, map: [] };
    this.reset();
  }

  reset() {
    this.controller?.abort();
    this.stage = "idle";
    this.file = null;
    this.zip = null;
    this.found = null;
    this.whole = false;
    this.isNew = false;
    this.upload = null;
    this.uploadName = "";
    this.work = null;
    this.outcome = null;
    this.result = null;
    this.refused = "";
    forgetLooks(this.looks);
    /** @type {import("../looks.js").Look[] | null} */
    this.looks = null;
    /** @type {Map<string, string>} what the archive calls its classes */
    this.names = new Map();
    /** Whether a check runs whose forerunner is still shown. */
    this.again = false;
    if (this.options) this.options = { ...this.options, labels: "match", map: [] };
  }

  connectedCallback() {
    super.connectedCallback();
    this.lookForUnfinished();
    this.countExisting();
    this.loadEarlier();
    const handed = takeHanded();
    if (handed) {
      this.isNew = Boolean(handed[0].isNew);
      this.take(handed);
    }
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.controller?.abort();
    forgetLooks(this.looks);
    if (this.upload?.state === "sending") this.upload.pause();
  }

  get endpoint() {
    return `/api/tasks/${this.task.id}/annotations`;
  }

  get isBusy() {
    return this.again || ["sending", "checking", "importing"].includes(this.stage);
  }

  async countExisting() {
    try {
      this.existing = (await get("/api/stats", { tasks: this.task.id })).tasks[this.task.id] ?? null;
    } catch (error) {
      toastError(error);
    }
  }

  /** The reports of this task's imports stay with it for a while. */
  async loadEarlier() {
    try {
      const found = await get("/api/requests", { task_id: this.task.id, action: "import", page_size: 20 });
      this.earlier = found.results.filter((request) => !request.report?.dry_run).slice(0, 5);
    } catch (error) {
      toastError(error);
    }
  }

  async lookForUnfinished() {
    const found = [];
    for (const one of unfinishedUploads(this.endpoint)) {
      const held = await heldBytes(one);
      if (held !== null) found.push({ ...one, held });
    }
    this.unfinished = found;
  }

  // Taking a file

  async take(dropped) {
    if (this.isBusy) return;
    const isNew = this.isNew;
    this.reset();
    this.isNew = isNew;
    let { file } = dropped[0];
    this.file = file;
    this.stage = "looking";
    try {
      if (dropped.length > 1 || (!/\.zip$/i.test(file.name) && !(await looksLikeZip(file)))) file = this.file = await bundled(dropped);
      this.zip = await openZip(file);
      this.found = survey(this.zip);
    } catch (error) {
      this.refused = error instanceof NotAZip ? `“${file.name}”: ${error.message}.` : error.message;
      this.stage = "idle";
      this.file = null;
      return;
    }
    await this.check();
  }

  /** Pictures in the zip are the task's already: where they weigh much, only their names are sent. */
  get isCut() {
    return !this.whole && this.found?.isAnnotations && this.found.pictureBytes > (this.isNew ? 0 : SMALL);
  }

  get body() {
    if (!this.isCut) return this.file.slice(0, this.file.size, "application/zip");
    const pictures = new Set(this.found.pictures.map((file) => file.path));
    return cutZip(this.zip, (entry) => (pictures.has(entry.name) ? "name" : true));
  }

  // Asking the service

  query(dryRun) {
    const { mode, missing, map, unmatched, labels, conv_mask_to_poly: polygons } = this.options;
    return {
      dry_run: dryRun ? "true" : null,
      mode: mode !== "replace" ? mode : null,
      missing: mode === "merge" && missing === "keep" ? "keep" : null,
      map: map.length ? map.map(entryOf).join(",") : null,
      unmatched: unmatched === "skip" ? "skip" : null,
      labels: labels === "create" ? "create" : null,
      conv_mask_to_poly: polygons ? "true" : null,
    };
  }

  /** Ask what would happen. `quietly`: what was found before stays to be seen meanwhile. */
  async check(quietly = false) {
    this.again = quietly && this.stage === "preview" && Boolean(this.outcome);
    if (!this.again) this.outcome = null;
    try {
      this.outcome = await this.run(true);
      this.stage = "preview";
      this.look();
    } catch (error) {
      this.stop(error);
    } finally {
      this.again = false;
    }
  }

  /** The archive's boxes over the task's pictures: whether they lie right is seen at once. */
  async look() {
    const { zip, outcome } = this;
    try {
      const names = await displayNames(zip, this.found);
      if (zip === this.zip) this.names = names;
      const renamed = new Map(this.options.map.filter(({ kind }) => kind === "label").map(({ from, to }) => [from, to]));
      const looks = await looksOf(zip, this.found, this.task, this.labels, outcome.problems, names, renamed);
      const old = this.looks;
      if (zip === this.zip && outcome === this.outcome) this.looks = looks;
      forgetLooks(this.looks === looks ? old : looks);
    } catch {
      // A look is a gift: the service's answer stands without it.
      if (zip === this.zip) this.looks ??= [];
    }
  }

  async commit() {
    try {
      const result = await this.run(false);
      this.result = result;
      this.stage = result.ok ? "done" : "preview";
      if (!result.ok) this.outcome = result;
      else this.tell("ap-imported", { id: this.task.id });
      if (result.ok && result.raw.created_labels?.length) this.tell("ap-labels-changed");
      this.countExisting();
      this.loadEarlier();
    } catch (error) {
      this.stop(error);
    }
  }

  stop(error) {
    if (error?.name === "AbortError") {
      this.stage = this.outcome ? "preview" : "idle";
      if (!this.outcome) this.file = null;
      return;
    }
    this.refused = error.message;
    this.stage = this.outcome ? "preview" : "stopped";
  }

  /** Send what is not there yet, and let it be read. @returns what came of it (of report.js) */
  async run(dryRun) {
    this.refused = "";
    this.work = null;
    this.controller = new AbortController();
    const body = this.body;
    if (body.size <= SMALL) {
      if (!this.again) this.stage = dryRun ? "checking" : "importing";
      return this.atOnce(body, dryRun);
    }
    for (let attempt = 0; ; attempt += 1) {
      if (!this.uploadName) await this.send(body);
      if (!this.again) this.stage = dryRun ? "checking" : "importing";
      try {
        return await this.finish(dryRun);
      } catch (error) {
        // The service keeps what was only looked at for a day: after that it is sent again.
        if (!(error instanceof APIError) || !/^(upload\.unknown|not_found)$/.test(error.code) || attempt) throw error;
        this.uploadName = "";
      }
    }
  }

  async send(body) {
    this.stage = "sending";
    this.upload = sendResumable(this.endpoint, body, this.file.name, this.file);
    this.uploadName = await this.upload.done;
    this.unfinished = [];
  }

  async atOnce(body, dryRun) {
    // Not waited for here: an archive with problems is an answer, not a failed request.
    const query = { ...this.query(dryRun), wait: 0, filename: this.file.name };
    const answer = await call("POST", `/api/tasks/${this.task.id}/import`, { query, body, signal: this.controller.signal });
    return this.waitFor(answer.rq_id);
  }

  async finish(dryRun) {
    const { mode, ...query } = this.query(dryRun);
    const rqId = await finishUpload(this.endpoint, { conv_mask_to_poly: "false", ...clean(query), import_mode: mode, format: FORMAT, filename: this.uploadName });
    return this.waitFor(rqId);
  }

  async waitFor(rqId) {
    this.running = rqId;
    const request = await untilFinal(rqId, (state) => (this.work = state), this.controller.signal);
    this.running = "";
    if (request.status === "failed" && !request.report) throw new APIError(400, { detail: request.message });
    return outcomeOf(request);
  }

  async cancelWork() {
    try {
      if (this.running) await call("POST", `/api/requests/${this.running}/cancel`);
    } catch (error) {
      toastError(error);
    }
    this.controller.abort();
  }

  async cancelEarlier(request) {
    await call("POST", `/api/requests/${request.id}/cancel`).catch(toastError);
    await this.loadEarlier();
  }

  async setOption(name, value, again = true) {
    this.options = { ...this.options, [name]: value };
    if (again && this.file && !this.isBusy) await this.check(true);
  }

  /** Call a label or subset of the archive by another name; by its own where `to` is empty. */
  async rename(kind, from, to) {
    const rest = this.options.map.filter((one) => one.kind !== kind || one.from !== from);
    await this.setOption("map", to && to !== from ? [...rest, { kind, from, to }] : rest);
  }

  /** The labels that the task has not, each with what it may be instead. */
  unknownLabels() {
    const found = new Map();
    for (const problem of this.outcome.problems) if (problem.code === "label.unknown" && problem.value) found.set(problem.value, problem.suggestion);
    if (!found.size || !this.labels.length) return nothing;
    return html`<ul class="renamings" aria-label="Labels that the task does not have">${[...found].slice(0, LISTED_NAMES).map(([name, near]) => {
      const shown = this.names.get(name) ?? name;
      return html`<li><span class="grow clip" title=${name}>${shown}${shown === name ? nothing : html` <span class="fine mono">${name}</span>`}</span>
        ${near ? html`<button type="button" class="button small" ?disabled=${this.isBusy} @click=${() => this.rename("label", name, near)}><span class="clip">It is “${near}”</span></button>` : nothing}
        <label class="field"><span class="away">Take ${shown} for the label</span><select ?disabled=${this.isBusy} @change=${(event) => this.rename("label", name, event.target.value)}>
          <option value="">Take it for …</option>${this.labels.slice(0, 500).map((label) => html`<option value=${label.name}>${label.name}</option>`)}</select></label></li>`;
    })}</ul>`;
  }

  /** What is called otherwise, and the subsets of the archive to be. */
  renamings() {
    const { map } = this.options;
    const labels = map.filter(({ kind }) => kind === "label");
    const subsets = [...new Set(this.found.tables.map((file) => file.subset).filter(Boolean))].sort();
    const listId = "known-subsets";
    return html`${labels.length
        ? html`<div class="row wrap tight" role="group" aria-label="Labels called otherwise">${labels.map(
            ({ from, to }) => html`<span class="label removable"><span class="clip">${this.names.get(from) ?? from} → ${to}</span>
              <button type="button" class="plain" aria-label="No longer take ${this.names.get(from) ?? from} for ${to}" ?disabled=${this.isBusy} @click=${() => this.rename("label", from, "")}>${icon("close")}</button></span>`,
          )}</div>`
        : nothing}
      ${subsets.length
        ? html`<details class="subsets" ?open=${map.some(({ kind }) => kind === "subset")}><summary>Call subsets otherwise</summary>
            <div class="row wrap">${subsets.map(
              (name) => html`<label class="stack tight"><span class="fine">${name}</span>
                <input list=${listId} placeholder=${name} maxlength="200" ?disabled=${this.isBusy} .value=${map.find(({ kind, from }) => kind === "subset" && from === name)?.to ?? ""} @change=${(event) => this.rename("subset", name, event.target.value.trim())}></label>`,
            )}</div>
            <datalist id=${listId}>${["train", "validation", "test"].map((name) => html`<option value=${name}></option>`)}</datalist></details>`
        : nothing}`;
  }

  // One-click fixes

  get fixes() {
    return {
      "image.unmatched": this.options.unmatched === "skip" ? [] : [{ label: "Leave these rows out", busy: this.isBusy, run: () => this.setOption("unmatched", "skip") }],
      "label.unknown": [{ label: "Add these labels to the task", busy: this.isBusy, run: () => this.setOption("labels", "create") }],
    };
  }

  // Showing

  start() {
    return html`
      ${this.unfinished.map(
        (one) => html`<div class="notice">${icon("clock")}
          <span class="grow">“${one.name}” stopped at ${percent(one.held / one.size)} ${one.begun ? ago(one.begun) : ""}. Choose the same file, and it goes on from there.</span>
          <button type="button" class="button small" @click=${() => {
            forgetUpload(one);
            this.unfinished = this.unfinished.filter((other) => other !== one);
          }}>Forget it</button></div>`,
      )}
      <ap-drop whole multiple folders heading="Drop a zip of annotations" hint="Open Images V4 to V7, as downloaded or as other tools write it: one zip, or its files. You see what it would do before anything changes."
        button="Choose a zip" accept=".zip,.csv,.json,.jsonl,.meta,.txt,application/zip" @ap-files=${(event) => this.take(event.detail)}></ap-drop>
      <p class="row center wrap fine">
        <a href="/help">How a zip should look</a>
        <a href="/samples/open-images-tables.zip" download>A small one to try</a>
        <a href="/samples/open-images-mistakes.zip" download>One with mistakes</a>
      </p>
      ${this.earlier.length
        ? html`<section class="stack tight"><h2>Earlier imports</h2>${requestRows(this.earlier, { onCancel: (request) => this.cancelEarlier(request) })}</section>`
        : nothing}`;
  }

  formatLine() {
    const why = this.found.of("boxes", "tags", "masks")[0] ?? this.found.tables[0];
    if (!why) return html`<p class="fine">No table of a format that is known here.</p>`;
    return html`<p class="fine">Taken for <strong>${this.outcome?.format || "Open Images"}</strong>, as it holds <span class="mono">${why.path.split("/").at(-1)}</span></p>`;
  }

  archive() {
    const errorsByFile = {};
    for (const problem of this.outcome?.problems ?? []) {
      if (problem.file && problem.severity === "error") errorsByFile[problem.file] = (errorsByFile[problem.file] ?? 0) + 1;
    }
    return html`<section class="panel archive" aria-label="The archive">
      <div class="row"><h2 class="grow clip" title=${this.file.name}>${this.file.name}</h2><span class="fine">${fileSize(this.file.size)}</span></div>
      ${this.formatLine()}
      <ap-tree .files=${this.found.files} .counts=${this.outcome?.tables ?? {}} .problems=${errorsByFile}></ap-tree>
      ${this.isCut
        ? html`<p class="fine">${icon("info")} The pictures in the zip stay on this machine, the task has them: ${fileSize(this.body.size)} are sent instead of ${fileSize(this.file.size)}.
            ${this.stage === "preview" || this.stage === "sending" ? html`<button type="button" class="link" @click=${() => this.sendWhole()}>Send all of it</button>` : nothing}</p>`
        : nothing}
      ${this.isBusy ? nothing : html`<button type="button" class="button small" @click=${() => this.reset()}>${icon("back")} Another zip</button>`}
    </section>`;
  }

  sendWhole() {
    this.upload?.cancel();
    this.uploadName = "";
    this.whole = true;
    setTimeout(() => this.check(), 0);
  }

  working() {
    if (this.stage === "sending") return html`<section class="panel"><h2>Sending</h2><ap-upload .upload=${this.upload} name=${this.file.name}></ap-upload></section>`;
    const what = this.stage === "importing" ? "Importing" : "Reading every row";
    return html`<section class="panel" aria-live="polite">
      <div class="row"><h2 class="grow">${what} …</h2>${this.running ? html`<button type="button" class="button small" @click=${() => this.cancelWork()}>Cancel</button>` : nothing}</div>
      ${bar(this.work?.progress ?? null, what)}
      <p class="fine">${this.work?.message || (this.stage === "importing" ? "All of it, or nothing" : "Nothing is changed yet")}</p>
    </section>`;
  }

  /** "1,240 boxes, 96 masks and 30 picture labels" */
  things() {
    const words = { boxes: ["box", "boxes"], masks: ["mask", "masks"], tags: ["picture label", "picture labels"] };
    const sums = {};
    for (const file of this.found.tables) {
      const told = this.outcome.tables[file.path];
      if (told && words[file.kind]) sums[file.kind] = (sums[file.kind] ?? 0) + told.kept + told.changed;
    }
    const parts = Object.entries(sums).filter(([, n]) => n).map(([kind, n]) => counted(n, ...words[kind]));
    if (!parts.length) {
      const { shapes = 0, tags = 0 } = this.outcome.annotations;
      if (shapes) parts.push(counted(shapes, "shape"));
      if (tags) parts.push(counted(tags, "tag"));
    }
    return parts.length > 1 ? `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}` : (parts[0] ?? "nothing");
  }

  /** What changes in the task: exactly, as the service counted it. */
  ledger() {
    const { changes } = this.outcome.raw;
    if (!changes) return nothing;
    const merges = this.outcome.raw.mode === "merge";
    const cell = (n, sign, look) => html`<td class="n ${n ? look : "none"}">${n ? `${sign}${count(n)}` : "0"}</td>`;
    const kinds = [["Shapes", changes.shapes], ["Tags", changes.tags], ["Tracks", changes.tracks]].filter(([name, told]) => told && (name !== "Tracks" || Object.values(told).some(Boolean)));
    return html`<div class="scroll" tabindex="0" role="group" aria-label="What changes in the task"><table class="ledger"><caption class="away">What changes in the task</caption>
      <thead><tr><td></td><th scope="col" class="n">Now</th><th scope="col" class="n">Removed</th>${merges ? html`<th scope="col" class="n">Changed</th>` : nothing}<th scope="col" class="n">Added</th>
        <th scope="col" class="n">After</th>${merges ? html`<th scope="col" class="n">Unchanged</th>` : nothing}</tr></thead>
      <tbody>${kinds.map(([name, { added, removed, changed, unchanged, kept }]) => {
        const now = removed + changed + unchanged + kept;
        return html`<tr><th scope="row">${name}</th><td class="n">${count(now)}</td>${cell(removed, "−", "bad")}${merges ? cell(changed, "~", "warn") : nothing}${cell(added, "+", "good")}
          <td class="n"><strong>${count(now - removed + added)}</strong></td>${merges ? cell(unchanged + kept, "", "") : nothing}</tr>`;
      })}</tbody></table></div>`;
  }

  /** The labels that come with the import. */
  newLabels() {
    const made = this.outcome.raw.created_labels ?? [];
    if (!made.length) return nothing;
    return html`<div class="row wrap tight" role="group" aria-label="New labels"><strong>${counted(made.length, "new label")}</strong>
      ${made.slice(0, LISTED_NAMES).map(({ name, attributes }) => html`<span class="label" title=${attributes.join(", ")}><span class="clip">${name}</span></span>`)}
      ${made.length > LISTED_NAMES ? html`<span class="fine">and ${count(made.length - LISTED_NAMES)} more</span>` : nothing}</div>`;
  }

  choices() {
    const holdsSomething = this.existing && this.existing.shapes + this.existing.tags + this.existing.tracks > 0;
    const radio = (value, name, fine) => html`<label class="check"><input type="radio" name="mode" value=${value} .checked=${this.options.mode === value} ?disabled=${this.isBusy}
      @change=${() => this.setOption("mode", value)}><span>${name} <span class="fine">${fine}</span></span></label>`;
    const box = (name, on, words, fine, value) => html`<label class="check"><input type="checkbox" .checked=${on} ?disabled=${this.isBusy}
      @change=${(event) => this.setOption(name, value(event.target.checked))}><span>${words} <span class="fine">${fine}</span></span></label>`;
    return html`<div class="choices">
      ${holdsSomething
        ? html`<fieldset class="stack tight"><legend>What is in the task already</legend>
            ${radio("replace", "Replace it", "the import takes its place")}
            ${radio("append", "Keep it", "the import is added")}
            ${radio("merge", "Correct it", "only what differs is touched; the same zip twice changes nothing")}
            ${this.options.mode === "merge" ? box("missing", this.options.missing === "keep", "Keep what the zip leaves out", "of the pictures it speaks of", (on) => (on ? "keep" : "remove")) : nothing}</fieldset>`
        : nothing}
      <fieldset class="stack tight"><legend>How the zip is read</legend>
        ${box("unmatched", this.options.unmatched === "skip", "Leave out pictures that are not in the task", "for a part of a large data set", (on) => (on ? "skip" : "error"))}
        ${box("labels", this.options.labels === "create", "Add labels that the task does not have", "with what is said of them as attributes", (on) => (on ? "create" : "match"))}
        ${box("conv_mask_to_poly", this.options.conv_mask_to_poly, "Turn masks into polygons", "outlines along the pixels' edges", (on) => on)}
        ${this.renamings()}
      </fieldset>
    </div>`;
  }

  preview() {
    const ok = this.outcome.errors === 0 && this.outcome.ok;
    const nothingKept = ok && !Object.values(this.outcome.annotations).some(Boolean);
    return html`<section aria-busy=${this.again} class="panel verdict ${this.again ? "is-again" : ""} ${ok ? (nothingKept ? "warn" : "good") : "bad"}">
        ${this.again ? bar(this.work?.progress ?? null, "Checking again") : nothing}
        <div class="row top">
          ${icon(ok ? (nothingKept ? "warning" : "check") : "error")}
          <div class="grow" role="status">
            <h2>${ok ? (nothingKept ? "There is nothing to import" : `Ready: ${this.things()}`) : "Not yet: nothing was changed"}</h2>
            <p>${ok
              ? nothingKept
                ? "The zip can be read, but none of its rows speaks of this task."
                : "Every row was read and checked. Nothing is changed until you import."
              : `${counted(this.outcome.errors, "problem")} must be solved first. An import is all or nothing.`}</p>
          </div>
        </div>
        ${ok
          ? html`${nothingKept ? nothing : this.ledger()}
              ${this.newLabels()}
              ${this.glances()}
              ${this.choices()}
              <div class="row end commit"><button type="button" class="button primary big" ?disabled=${nothingKept || this.isBusy} @click=${() => this.commit()}>${icon("check")} Import</button></div>`
          : this.glances()}
      </section>
      <section class="panel"><ap-report .outcome=${this.outcome} .zip=${this.zip} .fixes=${this.fixes} .choices=${{ "label.unknown": this.unknownLabels() }} .about=${this.about}></ap-report></section>
      ${ok
        ? nothing
        : html`<section class="panel">${this.choices()}
            <div class="row end"><button type="button" class="button" ?disabled=${this.isBusy} @click=${() => this.check(true)}>${icon("retry")} Check again</button></div></section>`}`;
  }

  where() {
    const { shapes = 0, tags = 0, images = 0 } = this.result.annotations;
    return `${counted(shapes, "shape")} and ${counted(tags, "tag")} in the task${images ? `, from ${counted(images, "picture")}` : ""}.`;
  }

  glances() {
    if (!this.found.of("boxes", "masks").length) return nothing;
    // Its place is kept from the start: buttons below must not move away from under a finger.
    if (!this.looks?.length) {
      return html`<div class="stack tight"><h3>A first look</h3>
        <p class="looks-to-come fine" aria-busy=${!this.looks}>${this.looks ? "None of its pictures could be found in the task." : "Looking …"}</p></div>`;
    }
    return html`<div class="stack tight"><h3>A first look</h3>
      <ul class="looks">${this.looks.map(
        (one) => html`<li><figure>
          <svg viewBox="0 0 ${one.width} ${one.height}" role="img" aria-label="${counted(one.n, "thing")} on ${one.name}">
            <image href="/api/tasks/${this.task.id}/data?type=frame&quality=compressed&number=${one.frame}" width=${one.width} height=${one.height}></image>
            ${one.masks.map((address) => svg`<image class="mask" href=${address} width=${one.width} height=${one.height} preserveAspectRatio="none"></image>`)}
            ${one.boxes.map(({ label, color, isBad, place: [x0, y0, x1, y1] }) => svg`<rect class=${isBad ? "is-bad" : ""} x=${x0 * one.width} y=${y0 * one.height}
              width=${Math.max(0, (x1 - x0) * one.width)} height=${Math.max(0, (y1 - y0) * one.height)} stroke=${color} fill=${color}><title>${label}</title></rect>`)}
          </svg>
          <figcaption class="row tight fine"><span class="grow clip" title=${one.name}>${one.name.split("/").at(-1)}</span>${one.problems
            ? html`<span class="chip bad">${counted(one.problems, "problem")}</span>`
            : one.notes
              ? html`<span class="chip warn">${counted(one.notes, "note")}</span>`
            : one.boxes.length
              ? counted(one.boxes.length, "box", "boxes")
              : counted(one.n, "mask")}</figcaption>
        </figure></li>`,
      )}</ul></div>`;
  }

  get about() {
    return { file: this.file?.name ?? "upload.zip", task: this.task.name, moment: moment(Date.now()) };
  }

  done() {
    return html`<section class="panel verdict good" role="status">
        <div class="row top">${icon("check")}<div class="grow"><h2>Imported ${this.things()}</h2><p>${this.where()}</p></div></div>
        <div class="row wrap">
          <a class="button primary" href="/tasks/${this.task.id}">${icon("eye")} Look at the pictures</a>
          <a class="button" href="/tasks/${this.task.id}/health">${icon("activity")} See the numbers</a>
          <button type="button" class="button quiet" @click=${() => this.reset()}>Import another</button>
        </div>
      </section>
      <section class="panel"><ap-report .outcome=${this.result} .zip=${this.zip} .about=${this.about}></ap-report></section>`;
  }

  commands() {
    const name = this.file?.name ?? "upload.zip";
    const query = new URLSearchParams(clean({ ...this.query(false) }));
    const base = `${SERVICE}/api/tasks/${this.task.id}/import`;
    const url = query.size ? `${base}?${query}` : base;
    const dry = new URLSearchParams(clean({ ...this.query(true) }));
    const login = curlLogin(this.user);
    return [
      { name: "Look first", text: `curl${login} ${formFile("file", name)} ${quoted(`${base}?${dry}`)}` },
      { name: "Import", text: `curl${login} ${formFile("file", name)} ${quoted(url)}` },
      // What cvat-cli cannot ask for would not be the same.
      ...(Object.keys(clean({ ...this.query(false), conv_mask_to_poly: null })).length || (this.found?.masks.length && !this.options.conv_mask_to_poly)
        ? []
        : [{ name: "cvat-cli", text: `${cvat(this.user)} task import-dataset --format ${quoted(FORMAT)} ${this.task.id} ${quoted(name)}` }]),
    ];
  }

  render() {
    const stages = {
      looking: () => html`<section class="panel"><h2>Looking inside …</h2>${bar(null, "Looking inside")}</section>`,
      sending: () => this.working(),
      checking: () => this.working(),
      importing: () => this.working(),
      preview: () => this.preview(),
      done: () => this.done(),
      stopped: () => html`<section class="panel"><button type="button" class="button primary" @click=${() => this.check()}>${icon("retry")} Try again</button></section>`,
    };
    return html`<div class="import stage-${this.stage}">
      ${this.refused ? html`<div class="notice bad" role="alert">${icon("error")} <span class="grow">${this.refused}</span>
        <button type="button" class="plain" aria-label="Close this message" @click=${() => (this.refused = "")}>${icon("close")}</button></div>` : nothing}
      ${this.stage === "idle" || !this.file
        ? this.start()
        : html`<div class="sides">${this.found ? this.archive() : nothing}<div class="stack">${stages[this.stage]?.() ?? nothing}</div></div>`}
      <ap-commands .lines=${this.commands()}></ap-commands>
    </div>`;
  }
}

/** Files that are not in a zip yet, as one. */
async function bundled(dropped) {
  const newest = Math.max(...dropped.map(({ file }) => file.lastModified));
  return new File([await makeZip(dropped)], "upload.zip", { type: "application/zip", lastModified: newest });
}

const clean = (query) => Object.fromEntries(Object.entries(query).filter(([, value]) => value !== null && value !== undefined));

customElements.define("ap-import", Import);
