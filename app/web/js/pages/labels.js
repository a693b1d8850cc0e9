import { Part, html, icon, nothing } from "../dom.js";
import { count, counted } from "../format.js";
import { curlJSON } from "../parts/commands.js";
import { toast, toastError } from "../parts/toasts.js";
import { namesFrom, openImagesAttributes, patchLabels } from "./new.js";

const INPUTS = { checkbox: "yes or no", text: "text", number: "number", select: "one of a list", radio: "one of a list" };

/** So many are shown; others are found by name. */
const LISTED = 200;

/** The labels of a task, and what may be said with each. */
class Labels extends Part {
  static properties = { task: { attribute: false }, labels: { attribute: false }, user: { attribute: false }, typed: { state: true }, search: { state: true }, busy: { state: true }, asked: { state: true } };

  constructor() {
    super();
    /** @type {Task} */
    this.task = null;
    /** @type {Who} */
    this.user = null;
    this.labels = [];
    this.typed = "";
    this.search = "";
    this.busy = false;
    this.asked = null;
  }

  get path() {
    return this.task.project_id ? `/api/projects/${this.task.project_id}` : `/api/tasks/${this.task.id}`;
  }

  async change(labels, words) {
    this.busy = true;
    try {
      await patchLabels(this.path, labels);
      this.tell("ap-labels-changed");
      if (words) toast(words);
      return true;
    } catch (error) {
      toastError(error);
      return false;
    } finally {
      this.busy = false;
    }
  }

  async add(event) {
    event.preventDefault();
    const known = new Set(this.labels.map((label) => label.name));
    const names = namesFrom(this.typed).filter((name) => !known.has(name));
    if (!names.length) return;
    if (await this.change(names.map((name) => ({ name })), `Added ${counted(names.length, "label")}`)) this.typed = "";
  }

  remove(label) {
    if (this.asked !== label.id) {
      this.asked = label.id;
      return;
    }
    this.asked = null;
    this.change([{ id: label.id, deleted: true }], `Removed “${label.name}”`);
  }

  addFlags() {
    const labels = this.labels
      .map((label) => ({ id: label.id, attributes: openImagesAttributes().filter((one) => !label.attributes.some((attribute) => attribute.name === one.name)) }))
      .filter((label) => label.attributes.length);
    this.change(labels, "Every label can say it now");
  }

  lines() {
    const names = namesFrom(this.typed);
    return [{ name: "curl", text: curlJSON(this.user, "PATCH", this.path, { labels: (names.length ? names : ["cat"]).map((name) => ({ name })) }) }];
  }

  /** Those whose name holds what was searched for. */
  get found() {
    const wanted = this.search.trim().toLowerCase();
    return wanted ? this.labels.filter((label) => label.name.toLowerCase().includes(wanted)) : this.labels;
  }

  render() {
    const { found } = this;
    const flags = openImagesAttributes();
    const lacksFlags = this.labels.some((label) => !flags.every((one) => label.attributes.some((attribute) => attribute.name === one.name)));
    return html`
      <form class="row" @submit=${this.add}>
        <label class="grow stack tight"><span class="name">Add labels</span>
          <input autocomplete="off" placeholder="cat, dog, …" .value=${this.typed} @input=${(event) => (this.typed = event.target.value)}></label>
        <button type="submit" class="button primary bottom" ?disabled=${this.busy || !this.typed.trim()}>Add</button>
      </form>
      ${this.labels.length > LISTED
        ? html`<label class="field search label-search">${icon("search")}<span class="away">Search labels by name</span>
            <input type="search" placeholder="Search ${counted(this.labels.length, "label")}" .value=${this.search} @input=${(event) => (this.search = event.target.value)} data-key="/"></label>`
        : nothing}
      ${this.labels.length
        ? html`<ul class="label-cards">${found.slice(0, LISTED).map(
            (label) => html`<li>
              <label class="swatch" title="Colour of ${label.name}"><input type="color" .value=${label.color} aria-label="Colour of ${label.name}" @change=${(event) => this.change([{ id: label.id, color: event.target.value }])}></label>
              <div class="grow"><strong class="clip">${label.name}</strong>
                <div class="fine">${label.attributes.length ? label.attributes.map((attribute) => html`<span class="chip" title=${INPUTS[attribute.input_type] ?? ""}>${attribute.name}</span> `) : "No attributes"}</div></div>
              <button type="button" class="button small ${this.asked === label.id ? "danger" : "quiet square"}" aria-label="Remove ${label.name}" @click=${() => this.remove(label)} @blur=${() => (this.asked = null)}>
                ${this.asked === label.id ? "Remove it and its annotations" : icon("trash")}</button>
            </li>`,
          )}</ul>
          ${found.length ? nothing : html`<div class="nothing"><p>No label is called that.</p></div>`}
          ${found.length > LISTED ? html`<p class="fine">and ${count(found.length - LISTED)} more: search for one by its name</p>` : nothing}`
        : html`<div class="nothing"><p>No labels yet. An import can bring them along.</p></div>`}
      ${this.labels.length && lacksFlags
        ? html`<p class="notice">${icon("info")}<span class="grow">Open Images says of each box whether it is truncated, a group, a depiction, seen from inside, and a score. Labels show it when they have such attributes.</span>
            <button type="button" class="button small" ?disabled=${this.busy} @click=${() => this.addFlags()}>Add them</button></p>`
        : nothing}
      <ap-commands .lines=${this.lines()}></ap-commands>`;
  }
}

customElements.define("ap-labels", Labels);
