import { get } from "../api.js";
import { Part, css, html, icon, nothing, svg } from "../dom.js";
import { FINDINGS, FLAG_WORDS } from "../findings.js";
import { KINDS, count, counted, percent } from "../format.js";
import { curlLogin, quoted } from "../parts/commands.js";

const MANY = 14;

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
    return html`<section class="panel"><h2>Worth a look</h2><ul class="findings">
      ${found.map(([name, { count: n, frames }]) => {
        const [one, many, words, advice] = FINDINGS[name];
        return html`<li>${icon("warning")}<div class="grow"><strong>${counted(n, one, many)}</strong> ${words} <span class="fine">${advice}</span>
          ${frames.length
            ? html`<div class="row wrap tight">${frames.slice(0, 8).map((frame) => html`<a class="chip link" href="/tasks/${this.task.id}?frame=${frame}">picture ${count(frame + 1)}</a>`)}${n > 8 ? html`<a class="fine" href="/tasks/${this.task.id}?only=${name === "nothing" ? "without" : `finding:${name}`}">all of them</a>` : nothing}</div>`
            : nothing}</div></li>`;
      })}</ul></section>`;
  }

  labels() {
    const total = (label) => label.shapes + label.tags + label.tracks;
    const labels = [...this.stats.labels].sort((a, b) => total(b) - total(a));
    const shown = this.everyLabel ? labels : labels.slice(0, MANY);
    const most = Math.max(1, ...labels.map((label) => label.shapes + label.tracks), ...labels.map((label) => label.tags));
    return html`<section class="panel wide ${shown.length > 8 ? "tall" : ""}"><h2>Labels</h2>
      <table class="bars"><caption class="away">Annotations by label</caption>
        <thead><tr><th scope="col">Label</th><th scope="col"><span class="away">Bar</span></th><th scope="col" class="n">Shapes</th><th scope="col" class="n">Tags</th><th scope="col" class="n">Pictures</th></tr></thead>
        <tbody>${shown.map(
          (label) => html`<tr>
            <th scope="row"><a href="/tasks/${this.task.id}?only=${label.id}" class="row tight plain-link"><ap-dot .color=${label.color}></ap-dot><span class="clip">${label.name}</span></a></th>
            <td class="bar-cell"><div class="hbar" ${css({ width: `${((label.shapes + label.tracks) / most) * 100}%`, background: label.color })}></div>
              ${label.tags ? html`<div class="hbar thin" ${css({ width: `${(label.tags / most) * 100}%`, background: label.color })}></div>` : nothing}</td>
            <td class="n">${count(label.shapes + label.tracks)}</td>
            <td class="n">${count(label.tags)}${label.absent ? html` <span class="fine" title="Said not to be in the picture">(${count(label.absent)} absent)</span>` : nothing}</td>
            <td class="n">${count(label.pictures)}</td></tr>`,
        )}</tbody></table>
      ${labels.length > MANY ? html`<button type="button" class="link" @click=${() => (this.everyLabel = !this.everyLabel)}>${this.everyLabel ? "Show fewer" : `Show all ${count(labels.length)}`}</button>` : nothing}
      ${this.subsets(labels)}
    </section>`;
  }

  subsets(labels) {
    const names = Object.keys(this.stats.subsets);
    if (names.length < 2) return nothing;
    return html`<details><summary>By subset</summary><div class="scroll" tabindex="0" role="group" aria-label="Shapes by label and subset"><table class="counts">
      <thead><tr><th scope="col">Label</th>${names.map((name) => html`<th scope="col" class="n">${name || "none"}</th>`)}</tr></thead>
      <tbody>${labels.slice(0, 200).map((label) => html`<tr><th scope="row">${label.name}</th>${names.map((name) => html`<td class="n">${count(label.subsets[name] ?? 0)}</td>`)}</tr>`)}
        <tr><th scope="row">Pictures</th>${names.map((name) => html`<td class="n">${count(this.stats.subsets[name])}</td>`)}</tr></tbody></table></div></details>`;
  }

  /** Bars over named bins. */
  histogram(title, bins, unit, fine) {
    const most = Math.max(1, ...bins.map(([, n]) => n));
    const width = 320;
    const height = 120;
    const step = width / bins.length;
    const sum = bins.reduce((all, [, n]) => all + n, 0);
    return html`<section class="panel"><h2>${title}</h2>
      <svg class="plot" viewBox="0 0 ${width} ${height + 22}" role="img" aria-label="${title}: ${bins.filter(([, n]) => n).map(([name, n]) => `${name}: ${n}`).join("; ") || "nothing"}">
        ${bins.map(([name, n], index) => {
          const tall = (n / most) * height;
          return svg`<g><title>${name}: ${count(n)} ${unit}${sum ? ` (${percent(n / sum)})` : ""}</title>
            <rect class="hit" x=${index * step} y="0" width=${step} height=${height}></rect>
            <rect class="column" x=${index * step + 1.5} y=${height - tall} width=${step - 3} height=${Math.max(n ? 1.5 : 0, tall)} rx="1.5"></rect></g>`;
        })}
        <line class="axis" x1="0" x2=${width} y1=${height + 0.5} y2=${height + 0.5}></line>
        ${bins.map(([name], index) => (bins.length <= 8 || index % Math.ceil(bins.length / 7) === 0 ? svg`<text x=${(index + 0.5) * step} y=${height + 15} text-anchor="middle">${name}</text>` : nothing))}
      </svg>
      <p class="fine">${fine}</p></section>`;
  }

  heat() {
    const { columns, rows, counts } = this.stats.positions;
    const most = Math.max(1, ...counts);
    return html`<section class="panel"><h2>Where things are</h2>
      <svg class="plot heat" viewBox="0 0 ${columns} ${rows * 0.7}" preserveAspectRatio="none" role="img" aria-label="Heat map of where shapes lie in their pictures; the middle has ${count(counts[Math.floor(rows / 2) * columns + columns / 2] ?? 0)}">
        ${counts.map((n, index) => (n ? svg`<rect x=${index % columns} y=${Math.floor(index / columns) * 0.7} width="1" height="0.7" fill-opacity=${Math.max(0.04, Math.sqrt(n / most)).toFixed(3)}></rect>` : nothing))}
      </svg>
      <p class="fine">How many shapes cover each spot of their picture; ${count(most)} at most.</p></section>`;
  }

  flags() {
    const { flags } = this.stats;
    if (!flags.length || !this.stats.shapes) return nothing;
    return html`<section class="panel"><h2>Flags</h2>
      <table class="flags"><caption class="away">Shapes by flag</caption>
        <thead><tr><th scope="col">Flag</th><th scope="col"><span class="away">Bar</span></th><th scope="col" class="n">Yes</th><th scope="col" class="n">No</th><th scope="col" class="n">Not said</th></tr></thead>
        <tbody>${flags.map((flag) => {
          const all = Math.max(1, flag.yes + flag.no + flag.unknown);
          return html`<tr><th scope="row">${flag.yes ? html`<a class="plain-link" href="/tasks/${this.task.id}?only=${encodeURIComponent(`flag:${flag.name}`)}">${FLAG_WORDS[flag.name] ?? flag.name}</a>` : (FLAG_WORDS[flag.name] ?? flag.name)}</th>
            <td class="bar-cell"><div class="tri" aria-hidden="true"><span class="yes" ${css({ width: `${(flag.yes / all) * 100}%` })}></span><span class="no" ${css({ width: `${(flag.no / all) * 100}%` })}></span></div></td>
            <td class="n">${count(flag.yes)}</td><td class="n">${count(flag.no)}</td><td class="n">${count(flag.unknown)}</td></tr>`;
        })}</tbody></table></section>`;
  }

  busiest() {
    if (!this.stats.busiest.length) return nothing;
    return html`<section class="panel"><h2>Busiest pictures</h2><ol class="busiest">${this.stats.busiest.slice(0, 8).map(
      (one) => html`<li><a class="plain-link row tight" href="/tasks/${this.task.id}?frame=${one.frame}"><span class="grow clip" title=${one.name}>${one.name.split("/").at(-1)}</span><span class="chip">${count(one.shapes)}</span></a></li>`,
    )}</ol></section>`;
  }

  render() {
    if (this.failed) return html`<div class="notice bad" role="alert">${icon("error")}<span class="grow">${this.failed.message}</span><button type="button" class="button small" @click=${() => this.load()}>Try again</button></div>`;
    if (!this.stats) return html`<p class="fine">Counting …</p>`;
    const { stats } = this;
    const lines = [{ name: "curl", text: `curl${curlLogin(this.user)} ${quoted(`${location.origin}/api/tasks/${this.task.id}/stats`)}` }];
    if (!stats.shapes && !stats.tags && !stats.tracks) {
      return html`<div class="nothing">${icon("activity")}<p>There is nothing to count yet.</p><p class="row center"><a class="button primary" href="/tasks/${this.task.id}/import">${icon("upload")} Import annotations</a></p></div>`;
    }
    const per = stats.objects_per_picture;
    const range = (edges, index, last) => (index + 1 < edges.length ? (edges[index + 1] - edges[index] === 1 ? `${edges[index]}` : `${edges[index]}–${edges[index + 1] - 1}`) : `${edges[index]}${last}`);
    const sizes = stats.sizes.edges.map((edge, index) => [index + 1 < stats.sizes.edges.length ? `${Math.round(edge * 100)}–${Math.round(stats.sizes.edges[index + 1] * 100)}%` : "100%+", stats.sizes.counts[index]]);
    const ratio = (value) => (value < 1 ? `1:${trim(1 / value)}` : `${trim(value)}:1`);
    const aspects = stats.aspects.counts.map((n, index) => {
      const { edges } = stats.aspects;
      const middle = index === 0 ? edges[0] / Math.SQRT2 : index === edges.length ? edges.at(-1) * Math.SQRT2 : Math.sqrt(edges[index - 1] * edges[index]);
      return [Math.abs(middle - 1) < 0.02 ? "1:1" : ratio(middle), n];
    });
    return html`
      ${this.numbers()}
      ${this.findings()}
      <div class="grid-panels">
        ${this.labels()}
        ${this.histogram("Shapes per picture", per.edges.map((_, index) => [range(per.edges, index, "+"), per.counts[index]]), "pictures", `${per.mean.toFixed(1)} on average, ${count(per.max)} at most.`)}
        ${this.heat()}
        ${this.histogram("Size", sizes, "shapes", "Side of the box as a part of the picture's.")}
        ${this.histogram("Width to height", aspects, "shapes", "Tall ones on the left, wide ones on the right.")}
        ${this.flags()}
        ${this.busiest()}
      </div>
      <ap-commands .lines=${lines} heading="These numbers as JSON"></ap-commands>`;
  }
}

const trim = (value) => (value >= 10 ? Math.round(value) : Number(value.toFixed(1)));

customElements.define("ap-health", Health);
