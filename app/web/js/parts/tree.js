import { Part, html, icon, nothing } from "../dom.js";
import { count, counted, fileSize } from "../format.js";
import { KIND_WORDS } from "../tables.js";

const ICONS = { masksZip: "mask", points: "table", mask: "mask", picture: "image", classes: "tag", hierarchy: "tag", kept: "file", clutter: "file", side: "file", sizes: "file" };
const MANY = { mask: 3, picture: 3 };
const MANY_ELSE = 14;

/** Group files by folder; folders of many pictures or masks become one line. */
function grouped(files) {
  const folders = new Map();
  for (const file of files) {
    const cut = file.path.lastIndexOf("/");
    const folder = cut < 0 ? "" : file.path.slice(0, cut);
    if (!folders.has(folder)) folders.set(folder, []);
    folders.get(folder).push(file);
  }
  return [...folders].sort(([a], [b]) => a.localeCompare(b, "en"));
}

/**
 * What an archive holds and what each file was taken for.
 * `files`: [{path, size, kind, subset}]; `counts`: {path: {seen, kept, changed, dropped}} once the service has read it.
 */
class Tree extends Part {
  static properties = { files: { attribute: false }, counts: { attribute: false }, problems: { attribute: false }, opened: { state: true } };

  constructor() {
    super();
    this.files = [];
    this.counts = {};
    this.problems = {};
    this.opened = new Set();
  }

  toggle(key) {
    const opened = new Set(this.opened);
    if (!opened.delete(key)) opened.add(key);
    this.opened = opened;
  }

  file(file, folder) {
    const told = this.counts[file.path];
    const errors = this.problems[file.path] ?? 0;
    return html`<li class="tree-file kind-${file.kind}">
      ${icon(ICONS[file.kind] ?? "table")}
      <span class="grow clip" title=${file.path}>${folder ? file.path.slice(folder.length + 1) : file.path}</span>
      <span class="tree-kind">${KIND_WORDS[file.kind] ?? file.kind}${file.subset ? html` · <em>${file.subset}</em>` : nothing}</span>
      ${told ? html`<span class="number">${counted(told.seen, "row")}</span>` : html`<span class="number fine">${fileSize(file.size)}</span>`}
      ${errors ? html`<span class="chip bad">${count(errors)}</span>` : nothing}
    </li>`;
  }

  many(kind, files, folder) {
    const key = `${folder}|${kind}`;
    const isOpen = this.opened.has(key);
    const [one, many] = kind === "mask" ? ["mask picture", "mask pictures"] : kind === "picture" ? ["picture", "pictures"] : ["file", "files"];
    const size = files.reduce((sum, file) => sum + file.size, 0);
    return html`<li class="tree-file kind-${kind}">
      ${icon(ICONS[kind] ?? "file")}
      <button type="button" class="link grow left" aria-expanded=${isOpen} @click=${() => this.toggle(key)}>${counted(files.length, one, many)}</button>
      <span class="tree-kind">${KIND_WORDS[kind]}</span>
      <span class="number fine">${fileSize(size)}</span>
    </li>
    ${isOpen
      ? html`${files.slice(0, 200).map((file) => this.file(file, folder))}
          ${files.length > 200 ? html`<li class="fine">and ${count(files.length - 200)} more</li>` : nothing}`
      : nothing}`;
  }

  render() {
    return html`<ul class="tree" aria-label="What the archive holds">
      ${grouped(this.files).map(([folder, files]) => {
        const kinds = new Map();
        for (const file of files) {
          if (!kinds.has(file.kind)) kinds.set(file.kind, []);
          kinds.get(file.kind).push(file);
        }
        return html`<li>
          ${folder ? html`<div class="tree-folder">${icon("folder")} <span class="clip">${folder}/</span></div>` : nothing}
          <ul>
            ${[...kinds].map(([kind, some]) => (some.length > (MANY[kind] ?? MANY_ELSE) ? this.many(kind, some, folder) : some.map((file) => this.file(file, folder))))}
          </ul>
        </li>`;
      })}
    </ul>`;
  }
}

customElements.define("ap-tree", Tree);
