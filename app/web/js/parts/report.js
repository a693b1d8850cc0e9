import { Part, html, icon, nothing, saveBlob } from "../dom.js";
import { count, counted } from "../format.js";
import { groupsOf, placeOf, reportAsCSV, reportAsHTML, reportAsJSON } from "../report.js";
import { cellsOf, linesAround } from "../tables.js";

const FIRST = 5;

/**
 * Counts of tables and problems by kind.
 * `outcome`: of report.js; `zip`: the archive on this machine, to show the very lines; `about`: {file, task, moment};
 * `fixes`: {code: [{label, busy, run}]}; `choices`: {code: what stands below them}
 */
class Report extends Part {
  static properties = {
    outcome: { attribute: false },
    zip: { attribute: false },
    about: { attribute: false },
    fixes: { attribute: false },
    choices: { attribute: false },
    unfolded: { state: true },
    shown: { state: true },
  };

  constructor() {
    super();
    this.outcome = null;
    this.zip = null;
    this.about = { file: "", task: "", moment: "" };
    this.fixes = {};
    this.choices = {};
    this.unfolded = new Set();
    this.shown = null;
  }

  willUpdate(changes) {
    if (changes.has("outcome")) {
      this.unfolded = new Set();
      this.shown = null;
    }
  }

  unfold(code) {
    const unfolded = new Set(this.unfolded);
    if (!unfolded.delete(code)) unfolded.add(code);
    this.unfolded = unfolded;
  }

  async show(problem) {
    if (this.shown?.problem === problem) {
      this.shown = null;
      return;
    }
    this.shown = { problem, lines: null, header: [] };
    try {
      const found = await linesAround(this.zip, problem.file, problem.row);
      if (this.shown?.problem === problem) this.shown = { problem, ...(found ?? { lines: [], header: [] }) };
    } catch {
      this.shown = { problem, lines: [], header: [] };
    }
  }

  canShow(problem) {
    return Boolean(this.zip && problem.row && problem.file && this.zip.byName.has(problem.file));
  }

  line(problem) {
    if (this.shown?.problem !== problem) return nothing;
    const { lines, header } = this.shown;
    if (!lines) return html`<p class="fine">Looking it up …</p>`;
    if (!lines.length) return html`<p class="fine">The line cannot be shown.</p>`;
    const column = header.findIndex((name) => name.trim().toLowerCase() === (problem.column ?? "").toLowerCase());
    return html`<div class="excerpt" tabindex="0" role="group" aria-label="Lines around row ${problem.row}">
      <table>
        <thead><tr><th scope="col">Row</th>${header.map((name, index) => html`<th scope="col" class=${index === column ? "hit" : ""}>${name}</th>`)}</tr></thead>
        <tbody>${lines.map(
          ({ row, text }) => html`<tr class=${row === problem.row ? "hit" : ""}><th scope="row">${count(row)}</th>
            ${cellsOf(text).map((value, index) => html`<td class=${index === column && row === problem.row ? "hit" : ""}>${value}</td>`)}</tr>`,
        )}</tbody>
      </table>
    </div>`;
  }

  problem(problem) {
    const place = placeOf(problem);
    return html`<li class="problem">
      <div class="problem-line">
        ${this.canShow(problem)
          ? html`<button type="button" class="link mono" title=${problem.file} aria-expanded=${this.shown?.problem === problem} @click=${() => this.show(problem)}>${place}</button>`
          : html`<span class="mono" title=${problem.file ?? ""}>${place || "The archive"}</span>`}
        <span>${problem.message}</span>
        ${problem.suggestion && !problem.message.includes(problem.suggestion) ? html`<span class="hint">${problem.suggestion}</span>` : nothing}
      </div>
      ${this.line(problem)}
    </li>`;
  }

  group(group, severity) {
    const isOpen = this.unfolded.has(group.code);
    const listed = isOpen ? group.problems : group.problems.slice(0, FIRST);
    const hidden = group.problems.length - listed.length;
    const fixes = severity === "error" ? (this.fixes[group.code] ?? []) : [];
    return html`<div role="group" class="group ${severity}" data-code=${group.code} aria-label=${group.title}>
      <header>
        ${icon(severity === "error" ? "error" : "warning")}
        <h3 class="grow">${group.title}</h3>
        <span class="chip ${severity === "error" ? "bad" : "warn"}">${counted(group.count, "time")}</span>
      </header>
      ${group.advice ? html`<p class="advice">${group.advice}</p>` : nothing}
      ${fixes.length
        ? html`<div class="row wrap fixes">${fixes.map(
            (fix) => html`<button type="button" class="button small primary" ?disabled=${fix.busy} @click=${fix.run}>${icon("check")} ${fix.label}</button>`,
          )}</div>`
        : nothing}
      ${severity === "error" ? (this.choices[group.code] ?? nothing) : nothing}
      <ol class="problems">${listed.map((problem) => this.problem(problem))}</ol>
      ${hidden > 0 || isOpen
        ? html`<button type="button" class="link" aria-expanded=${isOpen} @click=${() => this.unfold(group.code)}>
            ${isOpen ? "Show fewer" : `Show ${count(hidden)} more`}</button>`
        : nothing}
      ${isOpen && group.count > group.problems.length
        ? html`<p class="fine">The first ${count(group.problems.length)} of ${count(group.count)} are listed; all are counted.</p>`
        : nothing}
    </div>`;
  }

  tables() {
    const entries = Object.entries(this.outcome.tables);
    if (!entries.length) return nothing;
    return html`<div class="scroll" tabindex="0" role="group" aria-label="Rows by table"><table class="counts">
      <caption class="away">Rows by table</caption>
      <thead><tr><th scope="col">Table</th><th scope="col" class="n">Rows</th><th scope="col" class="n">Kept</th><th scope="col" class="n">Changed</th><th scope="col" class="n">Dropped</th></tr></thead>
      <tbody>${entries.map(
        ([name, told]) => html`<tr><th scope="row" class="mono" title=${name}>${name.split("/").at(-1)}</th>
          <td class="n">${count(told.seen ?? 0)}</td><td class="n good">${count(told.kept ?? 0)}</td>
          <td class="n ${told.changed ? "warn" : "none"}">${count(told.changed ?? 0)}</td>
          <td class="n ${told.dropped ? "bad" : "none"}">${count(told.dropped ?? 0)}</td></tr>`,
      )}</tbody>
    </table></div>`;
  }

  save(kind) {
    const stem = `report of ${this.about.file.replace(/\.zip$/i, "")}`;
    if (kind === "json") saveBlob(reportAsJSON(this.outcome), `${stem}.json`);
    if (kind === "csv") saveBlob(reportAsCSV(this.outcome), `${stem}.csv`);
    if (kind === "html") saveBlob(reportAsHTML(this.outcome, this.about), `${stem}.html`);
  }

  render() {
    if (!this.outcome) return nothing;
    const errors = groupsOf(this.outcome, "error");
    const warnings = groupsOf(this.outcome, "warning");
    return html`
      ${errors.length
        ? html`<h2>${counted(this.outcome.errors, "problem")} of ${counted(errors.length, "kind")}</h2>${errors.map((group) => this.group(group, "error"))}`
        : nothing}
      ${this.tables()}
      ${warnings.length
        ? html`<details class="warnings" ?open=${!errors.length && warnings.length <= 3}>
            <summary>${icon("warning")} ${counted(this.outcome.warnings, "note")}: worth knowing, nothing is in the way</summary>
            ${warnings.map((group) => this.group(group, "warning"))}
          </details>`
        : nothing}
      <p class="row wrap fine">Save this report as
        <button type="button" class="link" @click=${() => this.save("html")}>one page</button>
        <button type="button" class="link" @click=${() => this.save("csv")}>CSV</button>
        <button type="button" class="link" @click=${() => this.save("json")}>JSON</button>
      </p>
    `;
  }
}

customElements.define("ap-report", Report);
