// What the service says of an import: problems by kind in plain words, counts by table, and the report as a file.

import { render } from "lit-html";
import { html, nothing } from "./dom.js";
import { count, counted } from "./format.js";

/** Code → [what it is, what to do]. Codes that are not here show their own first message. */
const WORDS = {
  "zip.invalid": ["This is not a complete zip", "Zip the folder again, or upload it once more: it may have been cut short."],
  "zip.encrypted": ["The zip is locked with a password", "Save it without a password."],
  "zip.unsafe_path": ["A file in the zip has a name that leaves its folder", "Zip the folder itself, with names that stay inside it."],
  "zip.symlink": ["The zip holds a link instead of a file", "Put the file itself into the zip."],
  "zip.duplicate_member": ["Two files in the zip have the same name", "Remove one of them."],
  "zip.bad_member": ["A file in the zip is damaged", "Make the zip anew."],
  "zip.too_big": ["The zip is larger than this service reads", "Split it into several, or ask whoever runs the service for a higher limit."],
  "layout.not_found": ["No Open Images table in this zip", "It needs at least one table such as annotations/train-annotations-bbox.csv."],
  "layout.several_roots": ["The zip holds more than one data set", "Upload each by itself."],
  "csv.encoding": ["A table is not UTF-8 text", "Save it as UTF-8."],
  "csv.nul": ["A table holds characters that are no text", "Export it again."],
  "csv.quote": ["A quote is never closed", "Look at the row: a \" is missing or one too many."],
  "csv.no_header": ["The first row names no known column", "The first row must hold names such as ImageID,LabelName,XMin."],
  "csv.delimiter": ["Cells are not separated by commas", "Save the table with commas."],
  "csv.repeated_header": ["A row is the header once more", "Tables were put together: remove the headers within."],
  "csv.missing_column": ["A column is missing", "Add it to the table."],
  "csv.duplicate_column": ["A column is there twice", "Remove one."],
  "csv.field_count": ["A row has fewer or more cells than the header", "Look for a comma inside a name: such a name needs quotes."],
  "csv.too_big": ["A table is larger than this service reads", "Split it."],
  "value.missing": ["A cell is empty", "Fill it in, or remove the row."],
  "value.not_number": ["A cell should hold a number", "Correct the cell."],
  "value.not_finite": ["A number is not finite", "Correct the cell."],
  "value.range": ["A number is out of range", "Places go from 0 to 1, as parts of the picture's width and height. Larger numbers are usually pixels."],
  "value.flag": ["A flag is neither 0, 1 nor -1", "Correct the cell."],
  "box.inverted": ["The left side of a box lies right of its right side, or its top below its bottom", "Swap the two."],
  "image.unmatched": ["The task has no such picture", "Correct the name, or leave these rows out."],
  "image.ambiguous": ["Several pictures of the task could be meant", "Write the name with its folder."],
  "image.subset_conflict": ["A picture is in two subsets", "Keep it in one."],
  "image.bad_subset": ["A subset cannot be the name of a folder", "Rename it."],
  "label.unknown": ["The task has no such label", "Add the label to the task, or correct the name."],
  "mask.missing_file": ["A mask's picture is not in the zip", "Add the PNG under masks/, or remove the row."],
  "mask.ambiguous_file": ["Several mask pictures have this name", "Put each into the folder of its subset."],
  "mask.bad_png": ["A mask's picture cannot be read", "It must be a PNG."],
  "mask.bad_path": ["A mask's path is not a plain file name", "Write the name alone, without folders."],
  "mask.bad_box_id": ["A BoxID holds characters that no file name can have", "Leave out / and \\."],
  "meta.bad_line": ["A line of images.meta is not understood", "Each line is: name, height, width."],
  "hierarchy.bad_json": ["The class hierarchy is not valid JSON", "Correct it, or leave the file out."],
  "hierarchy.bad_node": ["A node of the class hierarchy has no LabelName", "Correct it, or leave the file out."],
  "file.kept": ["Files that are kept as they are", "They come back in the export."],
  "layout.two_versions": ["A table is there in two versions of the data set", "Rows that both have come twice. Send the one that is meant."],
  "row.duplicate": ["Rows that are there twice", "All of them are kept."],
  "box.outside": ["Boxes reach out of their picture", "They are kept as they are."],
  "box.empty": ["Boxes without width or height", "They are kept as they are."],
  "image.duplicate": ["Pictures that are listed twice", "Each counts once."],
  "image.replaced": ["Pictures of which an earlier import says something else", "What came last is exported."],
  "image.deleted": ["Rows about pictures that are deleted in the task", "Kept, and left out of exports until the pictures are restored."],
  "label.undeclared": ["Labels that the class names do not list", "They were matched with the task's labels by name."],
  "label.shared_name": ["Two classes have the same name", "Both are shown as that label; each row keeps its own class."],
  "label.name_conflict": ["A class has two names", "The first one counts."],
  "tag.negative_hidden": ["\"Not in this picture\" is kept, not shown", "Give the label a text attribute named score to see it."],
  "mask.not_binary": ["Masks with more than two values", "Everything but zero is the object."],
  "mask.resized": ["Masks of another size than their picture", "Scaled to the picture; the PNG itself is kept."],
  "mask.aspect": ["Masks of another shape than their picture", "Stretched to the picture; the PNG itself is kept."],
  "mask.empty": ["Masks without a single pixel", "Kept, but there is nothing to show."],
  "mask.unreferenced": ["Mask pictures that no row names", "Kept as they are."],
  "mask.box_partial": ["Masks with half a box", "Taken as masks without a box."],
  "mask.box_unlinked": ["Masks whose box is not among the boxes", "Kept without a link."],
  "meta.size_differs": ["images.meta tells another size than the picture has", "The picture counts."],
  "attribute.no_value": ["Values that an attribute's list does not have", "The default was taken."],
  "attribute.undeclared": ["Values of attributes that the labels do not have", "Left out; declare the attribute and import again."],
  "csv.line_ends": ["Lines end in an unusual way", "Read all the same."],
  "class.header_row": ["The class names begin with a header", "It was passed over."],
  "class.swapped": ["Names and ids of classes are in each other's column", "Read the other way round."],
  "class.named_by_mid": ["Classes are named by their id", "The id serves as the name."],
  "value.single_precision": ["Numbers were cut to single precision", "Read as the number they stand for."],
  "value.decimal_one": ["Whole numbers are written as decimals", "Read as whole numbers."],
  "value.flag_words": ["Flags are words", "Read as 1 and 0."],
  "mask.dark": ["Masks whose object is nearly black", "Everything but zero is the object."],
  "mask.shared_file": ["Several rows share a mask picture", "Each gets the whole mask."],
  "mask.too_complex": ["Masks that are too intricate to become polygons", "They stay masks."],
  "meta.incomplete": ["images.meta leaves out pictures", "The task knows their size."],
  "map.unknown": ["A label is taken for one that the task does not have", "Choose a label of the task."],
  "map.unused": ["A name is called otherwise that the archive does not have", "Check how it is written."],
  "merge.edit_kept": ["What was changed here stays", "The archive did not change it."],
  "merge.edit_overwritten": ["What was changed here and in the archive", "The archive's is taken."],
  "merge.missing_kept": ["Rows that the archive has no more, and that were changed here", "They stay."],
  "label.passed_over": ["Rows of labels that were not chosen", "Passed over."],
  "label.too_many": ["The archive would bring more labels than a task can have", "Choose some of them, or take several for one."],
  "point.outside": ["Points lie outside of their picture", "They are kept as they are."],
  "relationship.unlinked": ["Relationships whose boxes are not among the boxes", "Kept as they are."],
  "narrative.bad_line": ["Narratives that cannot be read", "Their file is kept as it came."],
  "hierarchy.unknown_label": ["The class hierarchy names classes that nothing uses", "Kept as it is."],
};

export const codeWords = (code, fallback = "") => WORDS[code] ?? [fallback || code, ""];

/** An answer of an import door, or a request, in one form. */
export function outcomeOf(answer) {
  const inner = answer.report ?? answer;
  const problems = inner.problems ?? [];
  const errors = inner.n_errors ?? problems.filter((problem) => problem.severity === "error").length;
  return {
    id: answer.rq_id ?? answer.id ?? "",
    ok: answer.status === "finished",
    message: answer.message ?? answer.detail ?? "",
    problems,
    counts: inner.counts ?? {},
    errors,
    warnings: inner.n_warnings ?? problems.length - errors,
    tables: inner.tables ?? {},
    annotations: inner.annotations ?? {},
    format: inner.format ?? "",
    files: inner.files ?? null,
    dryRun: Boolean(inner.dry_run),
    raw: inner,
  };
}

/** Problems of one severity by code, the most frequent first. */
export function groupsOf(outcome, severity) {
  const groups = new Map();
  for (const problem of outcome.problems) {
    if (problem.severity !== severity) continue;
    if (!groups.has(problem.code)) groups.set(problem.code, { code: problem.code, problems: [], count: 0 });
    groups.get(problem.code).problems.push(problem);
  }
  const known = new Set();
  for (const group of groups.values()) {
    known.add(group.code);
    const both = outcome.problems.some((problem) => problem.code === group.code && problem.severity !== severity);
    group.count = both ? group.problems.length : Math.max(outcome.counts[group.code] ?? 0, group.problems.length);
    [group.title, group.advice] = codeWords(group.code, group.problems[0].message);
  }
  return [...groups.values()].sort((a, b) => b.count - a.count);
}

/** "train-annotations-bbox.csv, row 17, XMin": the file without its folders */
export function placeOf(problem) {
  return [problem.file?.replace(/^.*\/(?=.)/, ""), problem.row ? `row ${count(problem.row)}` : "", problem.column].filter(Boolean).join(", ");
}

const cell = (value) => {
  const text = value === null || value === undefined ? "" : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

export function reportAsCSV(outcome) {
  const columns = ["severity", "code", "file", "row", "column", "value", "message", "suggestion"];
  const lines = outcome.problems.map((problem) => columns.map((name) => cell(problem[name])).join(","));
  return new Blob([[columns.join(","), ...lines].join("\r\n"), "\r\n"], { type: "text/csv" });
}

export function reportAsJSON(outcome) {
  return new Blob([JSON.stringify({ message: outcome.message, ...outcome.raw }, null, 2)], { type: "application/json" });
}

const SHEET = `body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#15202b;background:#fff}
table{border-collapse:collapse;width:100%;margin:1rem 0}th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #dfe3e8;vertical-align:top;overflow-wrap:anywhere}
td.n,th.n{text-align:right}h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}code{font:13px ui-monospace,monospace}small{color:#51606d}`;

/** One page that needs nothing else. Built as a document and written out, so every name in it is escaped. */
export function reportAsHTML(outcome, about) {
  const page = document.implementation.createHTMLDocument(`Import of ${about.file}`);
  const charset = page.createElement("meta");
  charset.setAttribute("charset", "utf-8");
  page.head.prepend(charset);
  render(
    html`<h1>Import of ${about.file}</h1>
      <p>Into the task <strong>${about.task}</strong>, ${about.moment}. ${outcome.message}</p>
      <table>
        <tr><th>File</th><th class="n">Rows seen</th><th class="n">Kept</th><th class="n">Changed</th><th class="n">Dropped</th></tr>
        ${Object.entries(outcome.tables).map(
          ([name, told]) => html`<tr><td><code>${name}</code></td>
            ${["seen", "kept", "changed", "dropped"].map((what) => html`<td class="n">${count(told[what] ?? 0)}</td>`)}</tr>`,
        )}
      </table>
      ${outcome.raw.changes
        ? html`<table>
            <tr><th>In the task</th><th class="n">Added</th><th class="n">Changed</th><th class="n">Removed</th><th class="n">Unchanged</th></tr>
            ${Object.entries(outcome.raw.changes).map(
              ([name, told]) => html`<tr><td>${name}</td>${["added", "changed", "removed"].map((what) => html`<td class="n">${count(told[what] ?? 0)}</td>`)}<td class="n">${count((told.unchanged ?? 0) + (told.kept ?? 0))}</td></tr>`,
            )}
          </table>`
        : nothing}
      ${["error", "warning"].map((severity) => {
        const groups = groupsOf(outcome, severity);
        return groups.length
          ? groups.map(
              (group) => html`<h2>${group.title} <small>${severity}, ${counted(group.count, "time")}, ${group.code}</small></h2>
                <p>${group.advice}</p>
                <table>
                  <tr><th>File</th><th class="n">Row</th><th>Column</th><th>Value</th><th>What</th></tr>
                  ${group.problems.map(
                    (problem) => html`<tr><td><code>${problem.file ?? ""}</code></td><td class="n">${problem.row ?? ""}</td>
                      <td>${problem.column ?? ""}</td><td><code>${problem.value ?? ""}</code></td>
                      <td>${problem.message}${problem.suggestion ? html` <small>(${problem.suggestion})</small>` : nothing}</td></tr>`,
                  )}
                </table>`,
            )
          : nothing;
      })}`,
    page.body,
  );
  const comments = page.createTreeWalker(page, NodeFilter.SHOW_COMMENT);
  const found = [];
  while (comments.nextNode()) found.push(comments.currentNode);
  for (const comment of found) comment.remove();
  // The style goes in as text: within this page's documents its policy would forbid it.
  const text = page.documentElement.outerHTML.replace("</head>", () => `<style>${SHEET}</style></head>`);
  return new Blob([`<!doctype html>\n${text}\n`], { type: "text/html" });
}
