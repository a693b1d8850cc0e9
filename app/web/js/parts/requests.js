import { html, icon, nothing } from "../dom.js";
import { ago, count, counted, fileSize, moment } from "../format.js";
import { codeWords, outcomeOf } from "../report.js";
import { bar } from "./progress.js";

const WHAT = {
  "export:dataset": "Pictures and annotations",
  "export:annotations": "Annotations",
  "import:annotations": "Import",
  "import:dataset": "Import",
  "create:task": "Reading pictures",
};

function nameOf(request) {
  if (request.report?.dry_run) return "Look at an archive";
  return WHAT[request.operation.type] ?? request.operation.type;
}

/** What became of it, in a line. */
function lineOf(request) {
  const { status, report, message } = request;
  if (status === "queued") return "Waiting for its turn";
  if (status === "started") return message || "Working";
  if (report?.n_errors) {
    const [first] = report.problems;
    const more = report.n_errors - 1;
    return `${codeWords(first.code, first.message)[0]}${more ? `, and ${counted(more, "more problem", "more problems")}` : ""}. Nothing was changed.`;
  }
  if (report?.dry_run) return message.replace(/^imported/, "would import").replace(/^merged:/, "would merge:");
  return message;
}

/** What a finished export of a part holds. */
function held({ report }) {
  const told = report?.selection;
  if (!told || !Object.values(told).some(({ before, after }) => before !== after)) return "";
  const words = { images: ["picture"], detections: ["box", "boxes"], segmentations: ["mask or outline", "masks and outlines"], classifications: ["picture label"], points: ["point set"], others: ["other", "others"] };
  return Object.entries(told).map(([name, { after }]) => counted(after, ...(words[name] ?? [name]))).join(", ");
}

const hasReport = (request) => Boolean(request.report?.tables && (request.operation.type.startsWith("import:")));

/**
 * Background work, newest first.
 * @param {any[]} requests of the API
 * @param {{onCancel: (request: any) => void, onAgain?: (request: any) => void, withTask?: boolean}} more
 */
export function requestRows(requests, { onCancel, onAgain, withTask = false }) {
  return html`<ul class="requests">${requests.map((request) => {
    const { status, operation } = request;
    const running = status === "queued" || status === "started";
    const failed = status === "failed";
    const notes = request.report?.n_warnings ?? 0;
    return html`<li class="request is-${status}">
      ${icon({ finished: "check", failed: "error", queued: "clock", started: "retry" }[status])}
      <div class="grow">
        <div><strong>${nameOf(request)}</strong> <span class="fine">${operation.format ?? ""}</span>
          ${withTask && operation.task_id ? html`<a href="/tasks/${operation.task_id}">task ${operation.task_id}</a>` : nothing}</div>
        ${held(request) ? html`<div class="fine">${held(request)}</div>` : nothing}
        ${running ? bar(request.progress, nameOf(request)) : nothing}
        <div class="fine wrap-anywhere">${lineOf(request)}</div>
        <div class="fine"><time datetime=${request.created_date} title=${moment(request.created_date)}>${ago(request.created_date)}</time>${request.result_url && request.result_size ? html`, ${fileSize(request.result_size)}` : nothing}${request.result_url && request.expiry_date ? html`, kept until ${moment(request.expiry_date)}` : nothing}${notes ? html`, ${counted(notes, "note")}` : nothing}</div>
        ${hasReport(request)
          ? html`<details class="request-report"><summary>Report</summary>
              <ap-report .outcome=${outcomeOf(request)} .about=${{ file: `import ${count(operation.task_id ?? 0)}`, task: `task ${operation.task_id}`, moment: moment(request.created_date) }}></ap-report></details>`
          : nothing}
      </div>
      <div class="row">
        ${request.result_url ? html`<a class="button small primary" href=${request.result_url} download>${icon("download")} Download</a>` : nothing}
        ${running ? html`<button type="button" class="button small" @click=${() => onCancel(request)}>Cancel</button>` : nothing}
        ${failed && operation.type.startsWith("export:") && onAgain ? html`<button type="button" class="button small" @click=${() => onAgain(request)}>${icon("retry")} Try again</button>` : nothing}
        ${failed && operation.type === "import:annotations" && withTask && operation.task_id ? html`<a class="button small" href="/tasks/${operation.task_id}/import">${icon("retry")} Import again</a>` : nothing}
      </div>
    </li>`;
  })}</ul>`;
}
