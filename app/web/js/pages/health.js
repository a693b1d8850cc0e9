import { get } from "../api.js";
import { SERVICE } from "../router.js";
import { Part, html, icon, nothing, svg } from "../dom.js";
import { FINDINGS, FLAG_WORDS } from "../findings.js";
import { KINDS, count, counted, percent } from "../format.js";
import { curlLogin, quoted } from "../parts/commands.js";

const MANY = 14;
/** Colours for subsets; a task with more begins again. */
const SERIES = 5;

/** What is in a task, and what looks wrong. */
class Health extends Part {
  static properties = { task: { attribute: false }, user: { attribute: false }, stats: { state: true }, failed: { state: true }, everyLabel: { state: true } };

  constructor() {
    super();
    /** @type {Task} */
    this.task = null;
    /** @type {Who} */
    this.user = null;
    this.stats = null;
    this.failed = null;
    this.everyLabel = false;
  }

  connectedCallback() {
    super.connectedCallback();
    this.load();
  }

  async load() {
    this.failed = null;
    try {
      this.stats = await get(`/api/tasks/${this.task.id}/stats`);
    } catch (error) {
      this.failed = error;
    }
  }

  numbers() {
    const { stats } = this;
    const types = Object.entries(stats.types).map(([type, n]) => counted(n, ...(KINDS[type] ?? [type])));
    const cell = (n, words, more) => html`<div class="figure"><strong>${count(n)}</strong><span>${words}</span>${more ? html`<span class="fine">${more}</span>` : nothing}</div>`;
    return html`<div class="figures">
      ${stats.counted_share < 1 ? html`<p class="fine">This is a large task: everything below is counted on ${percent(stats.counted_share)} of its pictures, spread evenly.</p>` : nothing}
      ${cell(Math.round(stats.pictures / stats.counted_share) === this.task.size ? this.task.size : stats.pictures, stats.pictures === 1 ? "picture" : "pictures", `${percent(stats.pictures ? stats.annotated_pictures / stats.pictures : 0)} with annotations`)}
      ${cell(stats.shapes, stats.shapes === 1 ? "shape" : "shapes", types.slice(0, 3).join(", "))}
      ${cell(stats.tags, stats.tags === 1 ? "tag" : "tags", "")}
      ${stats.tracks ? cell(stats.tracks, stats.tracks === 1 ? "track" : "tracks", "") : nothing}
      ${cell(stats.labels.length, stats.labels.length === 1 ? "label" : "labels", Object.keys(stats.subsets).length > 1 ? counted(Object.keys(stats.subsets).length, "subset") : "")}
    </div>`;
  }

  findings() {
    const found = Object.entries(this.stats.findings).filter(([name]) => FINDINGS[name]);
    if (!found.length) {
      return html`<section class="panel verdict good"><div class="row">${icon("check")}<div><strong>Nothing looks wrong.</strong> <span class="fine">Looked for empty, tiny, doubled and outlying shapes, bare pictures, unused and rare labels.</span></div></div></section>`;
    }
    return html`<section class="panel">${this.heading("Worth a look", "findings")}<ul class="findings">
      ${found.map(([name, { count: n, frames }]) => {
        const [one, many, words, advice] = FINDINGS[name];
        return html`<li>${icon("warning")}<div class="grow"><strong>${counted(n, one, many)}</strong> ${words} <span class="fine">${advice}</span>
          ${frames.length
            ? html`<div class="row wrap tight">${frames.slice(0, 8).map((frame) => html`<a class="chip link" href="/tasks/${this.task.id}?frame=${frame}">picture ${count(frame + 1)}</a>`)}${n > 8 ? html`<a class="fine" href="/tasks/${this.task.id}?only=${name === "nothing" ? "without" : `finding:${name}`}">all of them</a>` : nothing}</div>`
            : nothing}</div></li>`;
      })}</ul></section>`;
  }

  /** A heading with the chart's own numbers beside it. */
  heading(words, chart) {
    return html`<div class="row"><h2 class="grow">${words}</h2>
      <a class="fine" href="/api/tasks/${this.task.id}/stats/${chart}" target="_blank" rel="noopener" aria-label="${words} as JSON">JSON</a></div>`;
  }

  /** One bar of parts, as wide as its share of `most`. Parts: [number, class or colour, words]. */
  bar(parts, most) {
    let x = 0;
    return html`<svg class="hbar" viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true">${parts.map(([n, look, words]) => {
      const start = x;
      x += (n / most) * 100;
      const isColor = look.startsWith("#");
      return n
        ? svg`<rect class=${isColor ? "" : look} fill=${isColor ? look : nothing} x=${start} y="0" width=${Math.max(0.6, (n / most) * 100 - (parts.length > 1 ? 0.4 : 0))} height="12"><title>${words}</title></rect>`
        : nothing;
    })}</svg>`;
  }

  legend(items) {
    return html`<ul class="legend" aria-hidden="true">${items.map(([look, words]) => html`<li><svg viewBox="0 0 10 10" width="10" height="10"><rect class=${look} width="10" height="10" rx="2"></rect></svg> ${words}</li>`)}</ul>`;
  }

  labels() {
    const total = (label) => label.shapes + label.tags + label.tracks;
    const labels = [...this.stats.labels].sort((a, b) => total(b) - total(a));
    const shown = this.everyLabel ? labels : labels.slice(0, MANY);
    const subsets = subsetsOf(this.stats);
    const bySubset = subsets.length > 1;
    const most = Math.max(1, ...labels.map((label) => label.shapes + label.tracks));
    const parts = (label) =>
      bySubset
        ? [...subsets.map((name, index) => [label.subsets[name] ?? 0, `series s${index % SERIES}`, `${name || "no subset"}: ${count(label.subsets[name] ?? 0)}`]), [label.tracks, "series s-rest", `tracks: ${label.tracks}`]]
        : [[label.shapes + label.tracks, label.color, counted(label.shapes + label.tracks, "shape")]];
    return html`<section class="panel wide ${shown.length > 8 ? "tall" : ""}">${this.heading("Labels", "labels")}
      <table class="bars"><caption class="away">Annotations by label</caption>
        <thead><tr><th scope="col">Label</th><th scope="col"><span class="away">Bar</span></th><th scope="col" class="n">Shapes</th><th scope="col" class="n">Tags</th><th scope="col" class="n">Pictures</th></tr></thead>
        <tbody>${shown.map(
          (label) => html`<tr>
            <th scope="row"><a href="/tasks/${this.task.id}?only=${label.id}" class="row tight plain-link"><ap-dot .color=${label.color}></ap-dot><span class="clip" title=${label.name}>${label.name}</span></a></th>
            <td class="bar-cell">${this.bar(parts(label), most)}</td>
            <td class="n">${count(label.shapes + label.tracks)}</td>
            <td class="n">${count(label.tags)}</td>
            <td class="n">${count(label.pictures)}</td></tr>`,
        )}</tbody></table>
      ${bySubset ? this.legend(subsets.map((name, index) => [`series s${index % SERIES}`, `${name || "no subset"} (${counted(this.stats.subsets[name], "picture")})`])) : nothing}
      ${labels.length > MANY ? html`<button type="button" class="link" @click=${() => (this.everyLabel = !this.everyLabel)}>${this.everyLabel ? "Show fewer" : `Show all ${count(labels.length)}`}</button>` : nothing}
      ${bySubset ? this.subsets(labels, subsets) : nothing}
    </section>`;
  }

  subsets(labels, names) {
    return html`<details><summary>As a table</summary><div class="scroll" tabindex="0" role="group" aria-label="Shapes by label and subset"><table class="counts">
      <thead><tr><th scope="col">Label</th>${names.map((name) => html`<th scope="col" class="n">${name || "none"}</th>`)}</tr></thead>
      <tbody>${labels.slice(0, 200).map((label) => html`<tr><th scope="row">${label.name}</th>${names.map((name) => html`<td class="n">${count(label.subsets[name] ?? 0)}</td>`)}</tr>`)}
        <tr><th scope="row">Pictures</th>${names.map((name) => html`<td class="n">${count(this.stats.subsets[name])}</td>`)}</tr></tbody></table></div></details>`;
  }

  /** Labels of whole pictures: said to be there, and said not to be. */
  tags() {
    const labels = this.stats.labels.filter((label) => label.tags).sort((a, b) => b.tags - a.tags).slice(0, MANY);
    if (!labels.length) return nothing;
    const most = Math.max(...labels.map((label) => label.tags));
    return html`<section class="panel">${this.heading("Picture labels", "tags")}
      <table class="bars"><caption class="away">Picture labels, verified as present or as absent</caption>
        <thead><tr><th scope="col">Label</th><th scope="col"><span class="away">Bar</span></th><th scope="col" class="n">There</th><th scope="col" class="n">Not there</th></tr></thead>
        <tbody>${labels.map(
          (label) => html`<tr><th scope="row"><a href="/tasks/${this.task.id}?only=${label.id}" class="row tight plain-link"><ap-dot .color=${label.color}></ap-dot><span class="clip" title=${label.name}>${label.name}</span></a></th>
            <td class="bar-cell">${this.bar([[label.tags - label.absent, "is-yes", `there: ${count(label.tags - label.absent)}`], [label.absent, "is-absent", `not there: ${count(label.absent)}`]], most)}</td>
            <td class="n">${count(label.tags - label.absent)}</td><td class="n">${count(label.absent)}</td></tr>`,
        )}</tbody></table>
      ${this.legend([["is-yes", "verified to be there"], ["is-absent", "verified not to be there"]])}</section>`;
  }

  /**
   * Bars over bins.
   * `bins`: [name, number]; `ticks`: [place on the axis in bins, words], else each bin's name stands in its middle.
   */
  histogram(title, chart, bins, unit, fine, ticks = null) {
    const most = Math.max(1, ...bins.map(([, n]) => n));
    const width = 320;
    const height = 120;
    const step = width / bins.length;
    const sum = bins.reduce((all, [, n]) => all + n, 0);
    const named = ticks ?? bins.map(([name], index) => [index + 0.5, name]).filter((_, index) => bins.length <= 8 || index % 2 === 0);
    return html`<section class="panel">${this.heading(title, chart)}
      <svg class="plot" viewBox="0 0 ${width} ${height + 22}" role="img" aria-label="${title}: ${bins.filter(([, n]) => n).map(([name, n]) => `${name}: ${n}`).join("; ") || "nothing"}">
        ${[0.5, 1].map((part) => svg`<line class="guide" x1="0" x2=${width} y1=${height * (1 - part)} y2=${height * (1 - part)}></line>`)}
        ${bins.map(([name, n], index) => {
          const tall = (n / most) * height;
          return svg`<g><title>${name}: ${count(n)} ${unit}${sum ? ` (${percent(n / sum)})` : ""}</title>
            <rect class="hit" x=${index * step} y="0" width=${step} height=${height}></rect>
            <rect class="column" x=${index * step + 1.5} y=${height - tall} width=${step - 3} height=${Math.max(n ? 1.5 : 0, tall)} rx="1.5"></rect></g>`;
        })}
        <line class="axis" x1="0" x2=${width} y1=${height + 0.5} y2=${height + 0.5}></line>
        <text class="most" x=${width} y="11" text-anchor="end">${count(most)}</text>
        ${named.map(([place, words]) => svg`<text x=${place * step} y=${height + 15} text-anchor=${place === 0 ? "start" : place === bins.length ? "end" : "middle"}>${words}</text>`)}
      </svg>
      <p class="fine">${fine}</p></section>`;
  }

  heat() {
    const { columns, rows, counts } = this.stats.positions;
    const most = Math.max(1, ...counts);
    return html`<section class="panel">${this.heading("Where things are", "positions")}
      <svg class="plot heat" viewBox="0 0 ${columns} ${rows * 0.7}" preserveAspectRatio="none" role="img" aria-label="Heat map of where shapes lie in their pictures; the middle has ${count(counts[Math.floor(rows / 2) * columns + columns / 2] ?? 0)}">
        ${counts.map((n, index) => (n ? svg`<rect x=${index % columns} y=${Math.floor(index / columns) * 0.7} width="1" height="0.7" fill-opacity=${Math.max(0.05, (n / most) ** 0.8).toFixed(3)}></rect>` : nothing))}
      </svg>
      <p class="fine">How many shapes cover each spot of their picture; ${count(most)} at most.</p></section>`;
  }

  flags() {
    const { flags } = this.stats;
    if (!flags.length || !this.stats.shapes) return nothing;
    return html`<section class="panel">${this.heading("Flags", "flags")}
      <table class="bars flags"><caption class="away">Shapes by flag</caption>
        <thead><tr><th scope="col">Flag</th><th scope="col"><span class="away">Bar</span></th><th scope="col" class="n">Yes</th><th scope="col" class="n">No</th><th scope="col" class="n">Not said</th></tr></thead>
        <tbody>${flags.map((flag) => {
          const all = Math.max(1, flag.yes + flag.no + flag.unknown);
          const words = FLAG_WORDS[flag.name] ?? flag.name;
          return html`<tr><th scope="row">${flag.yes ? html`<a class="plain-link" href="/tasks/${this.task.id}?only=${encodeURIComponent(`flag:${flag.name}`)}">${words}</a>` : words}</th>
            <td class="bar-cell">${this.bar([[flag.yes, "is-yes", `yes: ${count(flag.yes)}`], [flag.no, "is-no", `no: ${count(flag.no)}`], [flag.unknown, "is-unknown", `not said: ${count(flag.unknown)}`]], all)}</td>
            <td class="n">${count(flag.yes)}</td><td class="n">${count(flag.no)}</td><td class="n">${count(flag.unknown)}</td></tr>`;
        })}</tbody></table>
      ${this.legend([["is-yes", "yes"], ["is-no", "no"], ["is-unknown", "not said"]])}</section>`;
  }

  /** Masks beside the boxes they are linked with. */
  masks() {
    const { boxes_with_mask: both, boxes_alone: boxes, masks_alone: masks, agreement } = this.stats.masks;
    const pairs = agreement.counts.reduce((sum, n) => sum + n, 0);
    if (!pairs && !masks) return nothing;
    const all = both + boxes + masks;
    const bins = agreement.edges.map((edge, index) => [`${Math.round(edge * 100)}–${Math.round((agreement.edges[index + 1] ?? 1) * 100)}%`, agreement.counts[index]]);
    const rows = [["Box with a mask", "is-yes", both], ["Box alone", "is-no", boxes], ["Mask alone", "is-absent", masks]];
    return html`<section class="panel">${this.heading("Masks against boxes", "masks")}
      ${this.bar(rows.map(([words, look, n]) => [n, look, `${words}: ${count(n)}`]), Math.max(1, all))}
      <table class="bars plain-rows"><caption class="away">Boxes and masks</caption><tbody>${rows.map(
        ([words, look, n]) => html`<tr><th scope="row"><svg class="key" viewBox="0 0 10 10" width="10" height="10" aria-hidden="true"><rect class=${look} width="10" height="10" rx="2"></rect></svg> ${words}</th><td class="n">${count(n)}</td></tr>`,
      )}</tbody></table>
      ${pairs ? html`${this.plain(bins)}<p class="fine">How far a mask's extent and its box overlap: 100% where both say the same.</p>` : nothing}</section>`;
  }

  /** A small histogram without a panel of its own. */
  plain(bins) {
    const most = Math.max(1, ...bins.map(([, n]) => n));
    return html`<svg class="plot" viewBox="0 0 320 84" role="img" aria-label="Overlap: ${bins.filter(([, n]) => n).map(([name, n]) => `${name}: ${n}`).join("; ")}">
      ${bins.map(([name, n], index) => svg`<g><title>${name}: ${count(n)}</title><rect class="hit" x=${index * 32} y="0" width="32" height="62"></rect>
        <rect class="column" x=${index * 32 + 1.5} y=${62 - (n / most) * 62} width="29" height=${Math.max(n ? 1.5 : 0, (n / most) * 62)} rx="1.5"></rect></g>`)}
      <line class="axis" x1="0" x2="320" y1="62.5" y2="62.5"></line>
      ${[[0, "0%", "start"], [160, "50%", "middle"], [320, "100%", "end"]].map(([x, words, anchor]) => svg`<text x=${x} y="78" text-anchor=${anchor}>${words}</text>`)}</svg>`;
  }

  busiest() {
    if (!this.stats.busiest.length) return nothing;
    return html`<section class="panel">${this.heading("Busiest pictures", "objects_per_picture")}<ol class="busiest">${this.stats.busiest.slice(0, 8).map(
      (one) => html`<li><a class="plain-link row tight" href="/tasks/${this.task.id}?frame=${one.frame}"><span class="grow clip" title=${one.name}>${one.name.split("/").at(-1)}</span><span class="chip">${count(one.shapes)}</span></a></li>`,
    )}</ol></section>`;
  }

  render() {
    if (this.failed) return html`<div class="notice bad" role="alert">${icon("error")}<span class="grow">${this.failed.message}</span><button type="button" class="button small" @click=${() => this.load()}>Try again</button></div>`;
    if (!this.stats) return html`<p class="fine">Counting …</p>`;
    const { stats } = this;
    const lines = [{ name: "curl", text: `curl${curlLogin(this.user)} ${quoted(`${SERVICE}/api/tasks/${this.task.id}/stats`)}` }];
    if (!stats.shapes && !stats.tags && !stats.tracks) {
      return html`<div class="nothing">${icon("activity")}<p>There is nothing to count yet.</p><p class="row center"><a class="button primary" href="/tasks/${this.task.id}/import">${icon("upload")} Import annotations</a></p></div>`;
    }
    const per = stats.objects_per_picture;
    const range = (edges, index, last) => (index + 1 < edges.length ? (edges[index + 1] - edges[index] === 1 ? `${edges[index]}` : `${edges[index]}–${edges[index + 1] - 1}`) : `${edges[index]}${last}`);
    const share = (edge) => `${Math.round(edge * 100)}%`;
    const sizeEdges = stats.sizes.edges;
    const sizes = sizeEdges.map((edge, index) => [index + 1 < sizeEdges.length ? `${share(edge)} to ${share(sizeEdges[index + 1])}` : "over 100%", stats.sizes.counts[index]]);
    const sizeTicks = [0, 2, 4, 6, 8, 11].map((index) => [index, share(sizeEdges[index])]);
    const edges = stats.aspects.edges;
    const aspects = stats.aspects.counts.map((n, index) => [
      index === 0 ? `below ${ratio(edges[0])}` : index === edges.length ? `above ${ratio(edges.at(-1))}` : `${ratio(edges[index - 1])} to ${ratio(edges[index])}`,
      n,
    ]);
    const aspectTicks = [0.125, 0.25, 0.5, 2, 4, 8].map((edge) => [edges.indexOf(edge) + 1, ratio(edge)]);
    aspectTicks.push([edges.findIndex((edge) => edge > 1) + 0.5, "1:1"]);
    return html`
      ${this.numbers()}
      ${this.findings()}
      <div class="grid-panels">
        ${this.labels()}
        ${this.tags()}
        ${this.histogram("Shapes per picture", "objects_per_picture", per.edges.map((_, index) => [range(per.edges, index, "+"), per.counts[index]]), "pictures", `${per.mean.toFixed(1)} on average, ${count(per.max)} at most.`)}
        ${this.heat()}
        ${this.histogram("Size", "sizes", sizes, "shapes", "Side of a square as large as the box, as a part of the picture's.", sizeTicks)}
        ${this.histogram("Width to height", "aspects", aspects, "shapes", "Tall ones on the left, wide ones on the right.", aspectTicks)}
        ${this.flags()}
        ${this.masks()}
        ${this.busiest()}
      </div>
      <ap-commands .lines=${lines} heading="These numbers as JSON"></ap-commands>`;
  }
}

/** Names of the subsets as people expect them: those for training first, pictures of none last. */
export function subsetsOf(stats) {
  const order = (name) => (name ? (["train", "validation", "val", "test"].indexOf(name.toLowerCase()) + 5) % 5 : 9);
  return Object.keys(stats.subsets).sort((a, b) => order(a) - order(b) || a.localeCompare(b, "en"));
}

/** 0.5 → "1:2", 4 → "4:1" */
const ratio = (value) => (value < 1 ? `1:${trim(1 / value)}` : `${trim(value)}:1`);
const trim = (value) => (value >= 10 ? Math.round(value) : Number(value.toFixed(1)));

customElements.define("ap-health", Health);
