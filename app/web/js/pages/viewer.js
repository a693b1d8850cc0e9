import { get } from "../api.js";
import { Part, css, html, icon, nothing, svg } from "../dom.js";
import { KINDS, count, counted } from "../format.js";
import { FINDINGS, FLAG_WORDS } from "../findings.js";
import { SERVICE, note } from "../router.js";
import { attributesOf, bitmapOf, boxOf, covers, drawingOf, pixelsOf } from "../shapes.js";
import { curlLogin, cvat, quoted } from "../parts/commands.js";
import { toastError } from "../parts/toasts.js";
import { noChange } from "lit-html";
import { repeat } from "lit-html/directives/repeat.js";

const ROW = 52;
const BLOCK = 200;
const MAX_CANVAS = 2400;
const MAX_ZOOM = 64;
const LISTED = 150;
/** How far an arrow with Shift moves the picture, in pixels of the screen. */
const PAN = 60;

/** The pictures of a task with everything that was said of them. */
class Viewer extends Part {
  static properties = {
    task: { attribute: false },
    labels: { attribute: false },
    user: { attribute: false },
    search: { state: true },
    only: { state: true },
    total: { state: true },
    place: { state: true },
    picture: { state: true },
    off: { state: true },
    bare: { state: true },
    selected: { state: true },
    hovered: { state: true },
    broken: { state: true },
    panel: { state: true },
    stats: { state: true },
    scrolled: { state: true },
    listed: { state: true },
  };

  constructor() {
    super();
    /** @type {Task} */
    this.task = null;
    /** @type {Who} */
    this.user = null;
    /** @type {Label[]} */
    this.labels = [];
    const query = new URLSearchParams(location.search);
    this.search = query.get("search") ?? "";
    this.only = query.get("only") ?? "";
    this.wanted = query.has("frame") ? Number(query.get("frame")) : null;
    /** How many pictures the list has, and the blocks of it that were fetched. */
    this.total = null;
    this.blocks = new Map();
    /** Place of the shown picture in the list. */
    this.place = 0;
    this.picture = null;
    this.off = new Set();
    this.bare = false;
    this.selected = null;
    this.hovered = null;
    this.broken = false;
    this.panel = "";
    /** Subsets, flags and findings to choose by; asked for when the choice is. */
    this.stats = null;
    this.scrolled = 0;
    this.listed = 0;
    this.view = { x: 0, y: 0, scale: 1, fitted: true };
    this.cache = new Map();
    this.masks = new Map();
    this.pointers = new Map();
    this.keys = (event) => this.key(event);
    this.resized = new ResizeObserver(() => {
      if (this.view.fitted) this.fit();
      this.requestUpdate();
    });
  }

  connectedCallback() {
    super.connectedCallback();
    document.addEventListener("keydown", this.keys);
    this.reload();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    document.removeEventListener("keydown", this.keys);
    this.resized.disconnect();
  }

  firstUpdated() {
    this.resized.observe(this.querySelector(".stage"));
    this.resized.observe(this.querySelector(".frames"));
    this.querySelector(".stage").addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  // The list

  async reload() {
    this.blocks = new Map();
    this.total = null;
    const turn = (this.turn = (this.turn ?? 0) + 1);
    const first = await this.fetchBlock(0, turn);
    if (!first || turn !== this.turn) return;
    let place = 0;
    if (this.wanted !== null) {
      place = this.search || this.only ? Math.max(0, first.frames.indexOf(this.wanted)) : Math.min(this.wanted, this.total - 1);
      this.wanted = null;
    }
    if (this.total) this.show(place, true);
    else this.picture = null;
  }

  async fetchBlock(block, turn = this.turn) {
    const held = this.blocks.get(block);
    if (held) return held;
    const query = { start: block * BLOCK, limit: BLOCK, search: this.search };
    const [kind, value] = splitChoice(this.only);
    if (kind === "with" || kind === "without") query.annotated = kind === "with";
    else if (kind) query[kind] = value;
    const asked = get(`/api/tasks/${this.task.id}/pictures`, query).then(
      (found) => {
        if (turn !== this.turn) return null;
        this.blocks.set(block, found);
        this.total = found.count;
        this.requestUpdate();
        return found;
      },
      (error) => {
        this.blocks.delete(block);
        toastError(error);
        return null;
      },
    );
    this.blocks.set(block, asked);
    return asked;
  }

  row(place) {
    const block = this.blocks.get(Math.floor(place / BLOCK));
    if (!block || block instanceof Promise) return null;
    const index = place % BLOCK;
    if (index >= block.frames.length) return null;
    return { frame: block.frames[index], name: block.names[index], shapes: block.shapes[index], tags: block.tags[index] };
  }

  async show(place, scroll = false) {
    if (place < 0 || place >= (this.total ?? 0)) return;
    this.place = place;
    this.listed = 0;
    this.selected = null;
    this.hovered = null;
    if (scroll) this.reveal();
    await this.fetchBlock(Math.floor(place / BLOCK));
    const row = this.row(place);
    if (!row || this.place !== place) return;
    note({ frame: row.frame });
    try {
      const picture = await this.fetchPicture(row.frame);
      if (this.place !== place) return;
      this.broken = false;
      this.picture = picture;
      this.masks = new Map();
      if (this.view.fitted || this.shownSize !== `${picture.width}x${picture.height}`) this.fit();
      this.shownSize = `${picture.width}x${picture.height}`;
      await this.updateComplete;
      this.paintMasks();
    } catch (error) {
      toastError(error);
    }
    for (const near of [place + 1, place - 1]) {
      const next = this.row(near);
      if (next) this.fetchPicture(next.frame, true).catch(() => {});
    }
  }

  fetchPicture(frame, ahead = false) {
    if (!this.cache.has(frame)) {
      const asked = get(`/api/tasks/${this.task.id}/pictures/${frame}`).then(({ annotations, ...picture }) => ({
        ...picture,
        tags: annotations.tags,
        shapes: annotations.shapes.map((shape, key) => ({ ...shape, key })),
      }));
      asked.catch(() => this.cache.delete(frame));
      this.cache.set(frame, asked);
      if (this.cache.size > 40) this.cache.delete(this.cache.keys().next().value);
      if (ahead) new Image().src = this.sourceOf(frame);
    }
    return this.cache.get(frame);
  }

  sourceOf(frame, quality = "original") {
    return `${SERVICE}/api/tasks/${this.task.id}/data?type=frame&quality=${quality}&number=${frame}`;
  }

  reveal() {
    const list = this.querySelector(".frames");
    if (!list) return;
    const top = this.place * ROW;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
  }

  typed(event) {
    this.search = event.target.value;
    note({ search: this.search });
    clearTimeout(this.typing);
    this.typing = setTimeout(() => this.reload(), 200);
  }

  async loadStats() {
    if (this.asked) return;
    this.asked = true;
    this.stats = await get(`/api/tasks/${this.task.id}/stats`).catch(() => null);
  }

  /** Made anew only where something of it is another: a task may have 20,000 labels, and a pointer moves often. */
  choices() {
    const { stats } = this;
    const now = [this.labels, stats, this.only];
    if (this.chosenFrom?.every((value, at) => value === now[at])) return noChange;
    this.chosenFrom = now;
    const wish = partialWish(this.only);
    const chosen = wish ? askFor(wish.kind, wish.name) : this.only;
    const option = (value, name) => html`<option value=${value} ?selected=${chosen === value}>${name}</option>`;
    const group = (name, options) => (options.length ? html`<optgroup label=${name}>${options}</optgroup>` : nothing);
    const subsets = Object.keys(stats?.subsets ?? {});
    const known = [
      ...(subsets.length > 1 ? subsets.map((name) => [`subset:${name}`, name || "no subset"]) : []),
      ...(stats?.flags ?? []).filter((flag) => flag.yes).map((flag) => [`flag:${flag.name}`, FLAG_WORDS[flag.name] ?? flag.name]),
      ...attributeChoices(this.labels),
      ...openAttributes(this.labels).map(([kind, name]) => [askFor(kind, name), `${name} …`]),
      ...Object.keys(stats?.findings ?? {}).filter((name) => stats.findings[name].frames.length && name !== "nothing").map((name) => [`finding:${name}`, FINDINGS[name]?.[4] ?? name]),
    ];
    const of = (...kinds) => known.filter(([value]) => kinds.some((kind) => value.startsWith(`${kind}:`))).map(([value, name]) => option(value, name));
    // A choice that came with the address is shown before its group is known.
    const isKnown = !this.only.includes(":") || known.some(([value]) => value === chosen);
    return html`${option("", "All pictures")}${option("with", "With annotations")}${option("without", "Without annotations")}
      ${isKnown ? nothing : option(this.only, (FINDINGS[splitChoice(this.only)[1]]?.[4] ?? FLAG_WORDS[splitChoice(this.only)[1]]) || splitChoice(this.only)[1])}
      ${group("With the label", this.labels.map((label) => option(String(label.id), label.name)))}
      ${group("Subset", of("subset"))}${group("Said to be", of("flag"))}${group("Attribute", of("attribute", "holds", "between"))}${group("Worth a look", of("finding"))}`;
  }

  /** What is typed of a text, or of a number's range. */
  wished() {
    const wish = partialWish(this.only);
    if (!wish) return nothing;
    const { kind, name, text } = wish;
    const typed = (value) => {
      this.only = `${kind}:${name}=${value}`;
      note({ only: this.only });
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.reload(), 300);
    };
    if (kind === "holds") {
      return html`<label class="field"><span class="away">${name} holds</span>
        <input type="search" placeholder="${name} holds …" .value=${text} @input=${(event) => typed(event.target.value)}></label>`;
    }
    const [low = "", high = ""] = text.split("..");
    const end = (which, value, join) => html`<label class="field grow"><span class="away">${name} ${which}</span>
      <input type="number" step="any" placeholder=${which} .value=${value} @input=${(event) => typed(join(event.target.value))}></label>`;
    return html`<div class="row tight" role="group" aria-label=${name}>${end("from", low, (value) => `${value}..${high}`)}${end("to", high, (value) => `${low}..${value}`)}</div>`;
  }

  filter(event) {
    this.only = event.target.value;
    note({ only: this.only });
    this.reload();
  }

  // Zoom and pan

  get stage() {
    return this.querySelector(".stage");
  }

  fit() {
    const { stage, picture } = this;
    if (!stage || !picture) return;
    const room = stage.getBoundingClientRect();
    const scale = Math.min((room.width - 24) / picture.width, (room.height - 24) / picture.height) || 1;
    this.view = { scale, x: (room.width - picture.width * scale) / 2, y: (room.height - picture.height * scale) / 2, fitted: true };
    this.requestUpdate();
  }

  zoom(factor, x, y) {
    const room = this.stage.getBoundingClientRect();
    const at = { x: x ?? room.width / 2, y: y ?? room.height / 2 };
    const smallest = Math.min(1, (room.width - 24) / this.picture.width, (room.height - 24) / this.picture.height) / 2;
    const scale = Math.min(MAX_ZOOM, Math.max(smallest, this.view.scale * factor));
    const grown = scale / this.view.scale;
    this.view = { scale, x: at.x - (at.x - this.view.x) * grown, y: at.y - (at.y - this.view.y) * grown, fitted: false };
    this.requestUpdate();
  }

  /** Move what is seen, as the keys do. */
  pan(dx, dy) {
    if (!this.picture) return;
    this.view = { ...this.view, x: this.view.x - dx * PAN, y: this.view.y - dy * PAN, fitted: false };
    this.requestUpdate();
  }

  wheel(event) {
    if (!this.picture) return;
    event.preventDefault();
    const room = this.stage.getBoundingClientRect();
    this.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0018)), event.clientX - room.left, event.clientY - room.top);
  }

  down(event) {
    if (event.button > 1 || event.target.closest("button")) return;
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY, moved: 0 });
    this.stage.setPointerCapture(event.pointerId);
  }

  move(event) {
    const pointer = this.pointers.get(event.pointerId);
    if (!pointer) {
      this.hover(event);
      return;
    }
    const [dx, dy] = [event.clientX - pointer.x, event.clientY - pointer.y];
    if (this.pointers.size === 2) {
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
      const before = Math.hypot(pointer.x - other.x, pointer.y - other.y);
      const after = Math.hypot(event.clientX - other.x, event.clientY - other.y);
      const room = this.stage.getBoundingClientRect();
      if (before > 0) this.zoom(after / before, (event.clientX + other.x) / 2 - room.left, (event.clientY + other.y) / 2 - room.top);
    } else {
      this.view = { ...this.view, x: this.view.x + dx, y: this.view.y + dy, fitted: false };
      this.requestUpdate();
    }
    Object.assign(pointer, { x: event.clientX, y: event.clientY, moved: pointer.moved + Math.abs(dx) + Math.abs(dy) });
  }

  up(event) {
    const pointer = this.pointers.get(event.pointerId);
    this.pointers.delete(event.pointerId);
    if (pointer && pointer.moved < 4 && event.type === "pointerup") {
      this.selected = this.at(event);
      this.paintMasks();
      this.revealObject();
    }
  }

  pointOf(event) {
    const room = this.stage.getBoundingClientRect();
    return { x: (event.clientX - room.left - this.view.x) / this.view.scale, y: (event.clientY - room.top - this.view.y) / this.view.scale };
  }

  /** The annotation under the pointer: drawn shapes first, then the smallest mask. */
  at(event) {
    if (!this.picture || this.bare) return null;
    // With a captured pointer the event's target is the stage: ask the document.
    const hit = document.elementsFromPoint(event.clientX, event.clientY).find((element) => element.closest?.("g[data-id]"));
    const group = /** @type {SVGElement | null} */ (hit?.closest("g[data-id]") ?? null);
    const drawn = group ? this.shown.find((shape) => String(shape.key) === group.dataset.id) : null;
    if (drawn && drawn.type !== "mask") return drawn;
    const { x, y } = this.pointOf(event);
    const masks = this.shown.filter((shape) => shape.type === "mask" && covers(this.maskOf(shape), x, y));
    masks.sort((a, b) => this.maskOf(a).pixels.length - this.maskOf(b).pixels.length);
    return masks[0] ?? drawn ?? null;
  }

  hover(event) {
    if (event.pointerType === "touch") return;
    const found = event.target.closest?.(".stage-tools") ? null : this.at(event);
    this.tip = { x: event.clientX, y: event.clientY };
    if (found !== this.hovered) {
      this.hovered = found;
      this.paintMasks();
    } else if (found) this.requestUpdate();
  }

  // Annotations

  labelOf(annotation) {
    return this.labelsById.get(annotation.label_id);
  }

  get labelsById() {
    if (this.namedLabels !== this.labels) {
      this.namedLabels = this.labels;
      this.known = new Map(this.labels.flatMap((label) => [label, ...label.sublabels]).map((label) => [label.id, label]));
    }
    return this.known;
  }

  /** Open Images says of some labels that they are not in the picture: score 0. */
  isAbsent(tag) {
    const spec = this.labelOf(tag)?.attributes.find((attribute) => attribute.name === "score");
    const said = spec && tag.attributes.find((attribute) => attribute.spec_id === spec.id);
    return Boolean(said && said.value !== "" && Number(said.value) === 0);
  }

  colorOf(annotation) {
    return this.labelOf(annotation)?.color ?? "#888888";
  }

  get shown() {
    return (this.picture?.shapes ?? []).filter((shape) => !this.off.has(shape.label_id));
  }

  maskOf(shape) {
    if (!this.masks.has(shape.key)) {
      const mask = pixelsOf(shape);
      this.masks.set(shape.key, { ...mask, bitmap: bitmapOf(mask, this.colorOf(shape)) });
    }
    return this.masks.get(shape.key);
  }

  paintMasks() {
    const canvas = /** @type {HTMLCanvasElement} */ (this.querySelector("canvas.masks"));
    if (!canvas || !this.picture) return;
    const { width, height } = this.picture;
    const scale = Math.min(1, MAX_CANVAS / Math.max(width, height));
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = scale < 1;
    if (this.bare) return;
    for (const shape of this.shown) {
      if (shape.type !== "mask") continue;
      const mask = this.maskOf(shape);
      const isLit = shape === this.selected || shape === this.hovered;
      context.globalAlpha = isLit ? 0.75 : this.selected ? 0.25 : 0.45;
      context.drawImage(mask.bitmap, mask.left * scale, mask.top * scale, mask.width * scale, mask.height * scale);
    }
  }

  toggleLabel(id) {
    const off = new Set(this.off);
    if (!off.delete(id)) off.add(id);
    this.off = off;
    this.updateComplete.then(() => this.paintMasks());
  }

  select(annotation) {
    this.selected = this.selected === annotation ? null : annotation;
    this.paintMasks();
    this.bringIntoView(annotation);
  }

  /** Move the picture where a chosen shape lies outside of what is seen. */
  bringIntoView(shape) {
    if (!shape?.points || this.view.fitted) return;
    const [x0, y0, x1, y1] = boxOf(shape);
    const room = this.stage.getBoundingClientRect();
    const { scale, x, y } = this.view;
    const middle = { x: ((x0 + x1) / 2) * scale + x, y: ((y0 + y1) / 2) * scale + y };
    if (middle.x > 0 && middle.y > 0 && middle.x < room.width && middle.y < room.height) return;
    this.view = { ...this.view, x: x + room.width / 2 - middle.x, y: y + room.height / 2 - middle.y };
    this.requestUpdate();
  }

  async revealObject() {
    await this.updateComplete;
    this.querySelector(".object.is-selected")?.scrollIntoView({ block: "nearest" });
  }

  step(by) {
    const shapes = this.shown;
    if (!shapes.length) return;
    const index = shapes.indexOf(this.selected);
    this.selected = shapes[(index + by + shapes.length + (index < 0 && by < 0 ? 1 : 0)) % shapes.length];
    this.paintMasks();
    this.bringIntoView(this.selected);
    this.revealObject();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const typing = event.target instanceof Element && event.target.closest("input, select, textarea, [contenteditable]");
    if (typing) return;
    const moves = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
    if (event.shiftKey && moves[event.key]) {
      event.preventDefault();
      const [dx, dy] = moves[event.key];
      this.pan(dx, dy);
      return;
    }
    const actions = {
      ArrowRight: () => this.show(this.place + 1, true),
      ArrowLeft: () => this.show(this.place - 1, true),
      PageDown: () => this.show(Math.min(this.total - 1, this.place + 10), true),
      PageUp: () => this.show(Math.max(0, this.place - 10), true),
      Home: () => this.show(0, true),
      End: () => this.show(this.total - 1, true),
      "+": () => this.zoom(1.25),
      "=": () => this.zoom(1.25),
      "-": () => this.zoom(0.8),
      0: () => this.fit(),
      h: () => this.toggleBare(),
      ".": () => this.step(1),
      ",": () => this.step(-1),
      Escape: () => {
        this.selected = null;
        this.panel = "";
        this.paintMasks();
      },
    };
    if (!actions[event.key] || !this.total) return;
    event.preventDefault();
    actions[event.key]();
  }

  toggleBare() {
    this.bare = !this.bare;
    this.updateComplete.then(() => this.paintMasks());
  }

  // Drawing

  list() {
    const height = (this.total ?? 0) * ROW;
    const list = this.querySelector(".frames");
    const room = list?.clientHeight ?? 600;
    const first = Math.max(0, Math.floor(this.scrolled / ROW) - 6);
    const last = Math.min(this.total ?? 0, Math.ceil((this.scrolled + room) / ROW) + 6);
    const places = [];
    for (let place = first; place < last; place += 1) places.push(place);
    for (const block of new Set(places.map((place) => Math.floor(place / BLOCK)))) if (!this.blocks.has(block)) this.fetchBlock(block);
    return html`<div class="frames" tabindex="0" role="listbox" aria-label="Pictures" aria-activedescendant=${this.total ? `frame-${this.place}` : nothing}
      @scroll=${(event) => (this.scrolled = event.target.scrollTop)}
      @keydown=${(event) => {
        const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
        if (!by || event.shiftKey) return;
        event.preventDefault();
        this.show(this.place + by, true);
      }}>
      <div class="frames-all" role="presentation" ${css({ height: `${height}px` })}>
        ${repeat(places, (place) => place, (place) => {
          const row = this.row(place);
          const is = place === this.place;
          return html`<div class="frame ${is ? "is-selected" : ""}" role="option" id="frame-${place}" aria-selected=${is} aria-setsize=${this.total} aria-posinset=${place + 1}
            ${css({ transform: `translateY(${place * ROW}px)` })} @click=${() => {
              if (this.panel === "list") this.panel = "";
              this.show(place);
            }}>
            <span class="thumb">${row ? html`<img src="/api/tasks/${this.task.id}/pictures/${row.frame}/preview" alt="" loading="lazy" decoding="async" draggable="false" @error=${(event) => event.target.remove()}>` : nothing}</span>
            <span class="grow frame-words"><span class="clip" title=${row?.name ?? ""}>${row ? row.name.split("/").at(-1) : "…"}</span><span class="number fine">${count((row?.frame ?? place) + 1)}</span></span>
            ${row && row.shapes + row.tags ? html`<span class="chip" title=${counted(row.shapes, "shape")}>${count(row.shapes + row.tags)}</span>` : nothing}
          </div>`;
        })}
      </div>
    </div>`;
  }

  drawings() {
    if (!this.picture || this.bare) return nothing;
    const { width, height } = this.picture;
    const dot = 4 / this.view.scale;
    return html`<svg class="shapes ${this.selected ? "has-selected" : ""}" viewBox="0 0 ${width} ${height}" width=${width} height=${height} aria-hidden="true">
      ${repeat(this.shown, (shape) => shape.key, (shape) => svg`<g data-id=${shape.key} fill=${this.colorOf(shape)} stroke=${this.colorOf(shape)}
        class="shape ${shape.type} ${shape === this.selected ? "is-selected" : ""} ${shape === this.hovered ? "is-hovered" : ""}">${drawingOf(shape, dot)}</g>`)}
    </svg>`;
  }

  tooltip() {
    if (!this.hovered || !this.tip) return nothing;
    const room = this.stage.getBoundingClientRect();
    const label = this.labelOf(this.hovered);
    const said = attributesOf(this.hovered, label);
    return html`<div class="tip" aria-hidden="true" ${css({
      left: `${Math.min(this.tip.x - room.left + 14, room.width - 180)}px`,
      top: `${Math.min(this.tip.y - room.top + 14, room.height - 60)}px`,
    })}><strong><ap-dot .color=${this.colorOf(this.hovered)}></ap-dot> ${label?.name ?? "?"}</strong> <span class="fine">${KINDS[this.hovered.type]?.[0]}</span>
      ${said.map(([name, value]) => html`<div class="fine">${name}: ${value}</div>`)}</div>`;
  }

  object(annotation, kind) {
    const label = this.labelOf(annotation);
    const said = attributesOf(annotation, label);
    const is = annotation === this.selected;
    return html`<li class="object ${is ? "is-selected" : ""}">
      <button type="button" class="object-button" aria-pressed=${is} @click=${() => this.select(annotation)}
        @mouseenter=${() => {
          this.hovered = kind === "tag" ? null : annotation;
          this.tip = null;
          this.paintMasks();
        }}
        @mouseleave=${() => {
          this.hovered = null;
          this.paintMasks();
        }}>
        <ap-dot .color=${this.colorOf(annotation)}></ap-dot><span class="grow clip">${label?.name ?? "unknown label"}</span>
        <span class="fine">${kind === "tag" && this.isAbsent(annotation) ? "not there" : (KINDS[kind]?.[0] ?? kind)}</span>
      </button>
      ${is ? this.details(annotation, said) : nothing}
    </li>`;
  }

  details(annotation, said) {
    const facts = [...said];
    if (annotation.points) {
      const [x0, y0, x1, y1] = boxOf(annotation);
      facts.push(["place", `${Math.round(x0)}, ${Math.round(y0)}`], ["size", `${Math.round(x1 - x0)} × ${Math.round(y1 - y0)}`]);
    }
    if (annotation.rotation) facts.push(["rotation", `${Math.round(annotation.rotation)}°`]);
    if (annotation.group) facts.push(["group", String(annotation.group)]);
    if (annotation.source) facts.push(["source", annotation.source]);
    return html`<dl class="facts">${facts.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`;
  }

  lines() {
    const base = `${SERVICE}/api/tasks/${this.task.id}`;
    const { frame, name } = this.picture;
    const login = curlLogin(this.user);
    return [
      { name: "Annotations", text: `curl${login} ${quoted(`${base}/pictures/${frame}`)}` },
      { name: "Picture", text: `curl${login} -o ${quoted(name.split("/").at(-1))} ${quoted(`${base}/data?type=frame&quality=original&number=${frame}`)}` },
      { name: "cvat-cli", text: `${cvat(this.user)} task frames ${this.task.id} ${frame}` },
    ];
  }

  side() {
    const { picture } = this;
    if (!picture) return nothing;
    const perLabel = new Map();
    for (const annotation of [...picture.shapes, ...picture.tags]) perLabel.set(annotation.label_id, (perLabel.get(annotation.label_id) ?? 0) + 1);
    const objects = this.shown;
    const chosen = objects.indexOf(this.selected);
    const from = chosen >= 0 && this.followed !== this.selected ? Math.floor(chosen / LISTED) * LISTED : Math.min(this.listed, Math.max(0, objects.length - 1));
    this.followed = this.selected;
    this.listed = from;
    const until = Math.min(objects.length, from + LISTED);
    const tags = picture.tags.filter((tag) => !this.off.has(tag.label_id));
    return html`
      <h2>Labels</h2>
      ${perLabel.size
        ? html`<ul class="label-list">${[...perLabel].map(([id, n]) => {
            const label = this.labelsById.get(id);
            const off = this.off.has(id);
            return html`<li><button type="button" class="object-button ${off ? "is-off" : ""}" aria-pressed=${!off} @click=${() => this.toggleLabel(id)}>
              <ap-dot .color=${label?.color}></ap-dot><span class="grow clip"><span class="away">Show</span> ${label?.name ?? "unknown label"}</span><span class="fine">${count(n)}</span>${icon(off ? "hidden" : "eye")}</button></li>`;
          })}</ul>`
        : html`<p class="fine">Nothing is said of this picture.</p>`}
      ${tags.length ? html`<h2>Tags</h2><ul class="objects">${tags.map((tag) => this.object(tag, "tag"))}</ul>` : nothing}
      ${objects.length
        ? html`<h2>${counted(objects.length, "shape")}</h2>
            ${objects.length > LISTED
              ? html`<div class="row tight fine pages"><button type="button" class="button small square" aria-label="Earlier shapes" ?disabled=${from === 0} @click=${() => (this.listed = Math.max(0, from - LISTED))}>${icon("back")}</button>
                  <span class="grow">${count(from + 1)} to ${count(until)}</span>
                  <button type="button" class="button small square" aria-label="Later shapes" ?disabled=${until === objects.length} @click=${() => (this.listed = from + LISTED)}>${icon("forward")}</button></div>`
              : nothing}
            <ul class="objects">${repeat(objects.slice(from, until), (shape) => shape.key, (shape) => this.object(shape, shape.type))}</ul>`
        : nothing}
      ${picture.notes?.length
        ? html`<h2>Also said</h2>
            <ul class="notes">${picture.notes.map((note) => html`<li title=${note.file}>${note.words}</li>`)}</ul>
            ${picture.n_notes > picture.notes.length ? html`<p class="fine">and ${count(picture.n_notes - picture.notes.length)} more</p>` : nothing}`
        : nothing}
      <ap-commands .lines=${this.lines()}></ap-commands>`;
  }

  render() {
    const { picture, view } = this;
    const row = this.row(this.place);
    // The next picture is named at once; until it is here, the one before is shown dimmed and without its shapes.
    const isTurning = Boolean(picture && row && picture.frame !== row.frame);
    return html`<div class="viewer ${this.panel ? `shows-${this.panel}` : ""}">
      <aside class="viewer-list" aria-label="List of pictures">
        <div class="stack tight pad">
          <label class="field search">${icon("search")}<span class="away">Search pictures by name</span>
            <input type="search" placeholder="Name" .value=${this.search} @input=${this.typed} data-key="/"></label>
          <label class="field"><span class="away">Which pictures</span>
            <select @change=${this.filter} @pointerenter=${this.loadStats} @focus=${this.loadStats}>
              ${this.choices()}
            </select></label>
          ${this.wished()}
        </div>
        ${this.list()}
      </aside>
      <section class="viewer-main" aria-label="Picture">
        <div class="viewer-bar">
          <button type="button" class="button small quiet square narrow-only" aria-label="List of pictures" aria-expanded=${this.panel === "list"} @click=${() => (this.panel = this.panel === "list" ? "" : "list")}>${icon("table")}</button>
          <button type="button" class="button small square" aria-label="Previous picture" title="Previous (←)" ?disabled=${this.place <= 0} @click=${() => this.show(this.place - 1, true)}>${icon("back")}</button>
          <button type="button" class="button small square" aria-label="Next picture" title="Next (→)" ?disabled=${this.place + 1 >= (this.total ?? 0)} @click=${() => this.show(this.place + 1, true)}>${icon("forward")}</button>
          <span class="grow clip" aria-live="polite"><strong title=${row?.name ?? ""}>${row?.name.split("/").at(-1) ?? ""}</strong> <span class="fine">${this.total ? `${count(this.place + 1)} of ${count(this.total)}` : ""}${picture ? `, ${picture.width} × ${picture.height}` : ""}${picture?.subset ? `, ${picture.subset}` : ""}</span></span>
          <button type="button" class="button small quiet square narrow-only" aria-label="What is in this picture" aria-expanded=${this.panel === "side"} @click=${() => (this.panel = this.panel === "side" ? "" : "side")}>${icon("tag")}</button>
        </div>
        <div class="stage ${isTurning ? "is-turning" : ""}" aria-busy=${isTurning} @pointerdown=${this.down} @pointermove=${this.move} @pointerup=${this.up} @pointercancel=${this.up}
          @pointerleave=${() => {
            if (this.hovered) {
              this.hovered = null;
              this.paintMasks();
            }
          }} @dblclick=${() => this.fit()}>
          ${picture
            ? html`<div class="canvas" ${css({ width: `${picture.width}px`, height: `${picture.height}px`, transform: `translate(${view.x}px, ${view.y}px) scale(${view.scale})` })}>
                ${this.broken
                  ? html`<div class="shot-empty">${icon("image")}</div>`
                  : html`<img class=${view.scale > 3 ? "crisp" : ""} src=${this.sourceOf(picture.frame)} alt=${picture.name} draggable="false" width=${picture.width} height=${picture.height}
                      @error=${(event) => {
                        const small = this.sourceOf(picture.frame, "compressed");
                        if (!event.target.src.endsWith(small)) event.target.src = small;
                        else this.broken = true;
                      }}>`}
                <canvas class="masks ${view.scale > 3 ? "crisp" : ""}" aria-hidden="true" ${css({ width: `${picture.width}px`, height: `${picture.height}px` })}></canvas>
                ${this.drawings()}
              </div>`
            : nothing}
          ${this.total === 0
            ? html`<div class="nothing"><p>${this.search || this.only ? "No picture is like that." : "There are no pictures yet."}</p></div>`
            : nothing}
          ${picture?.tags.length && !this.bare
            ? html`<div class="stage-tags">${picture.tags.filter((tag) => !this.off.has(tag.label_id)).slice(0, 12).map((tag) => html`<span class="label ${this.isAbsent(tag) ? "is-absent" : ""}"><ap-dot .color=${this.colorOf(tag)}></ap-dot>${this.isAbsent(tag) ? "no " : ""}${this.labelOf(tag)?.name}</span>`)}</div>`
            : nothing}
          ${this.tooltip()}
          <div class="stage-tools" role="toolbar" aria-label="View">
            <button type="button" class="button small square" aria-label="Larger" title="Larger (+)" ?disabled=${!picture} @click=${() => this.zoom(1.4)}>${icon("add")}</button>
            <button type="button" class="button small square" aria-label="Smaller" title="Smaller (−)" ?disabled=${!picture} @click=${() => this.zoom(1 / 1.4)}><svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d="M5 12h14"></path></svg></button>
            <button type="button" class="button small square" aria-label="Whole picture" title="Whole picture (0)" @click=${() => this.fit()}>${icon("fit")}</button>
            <button type="button" class="button small square" aria-label="Show annotations" aria-pressed=${!this.bare} title="Show annotations (h)" @click=${() => this.toggleBare()}>${icon(this.bare ? "hidden" : "eye")}</button>
            <span class="fine zoom">${Math.round(view.scale * 100)}%</span>
          </div>
        </div>
      </section>
      <aside class="viewer-side pad" aria-label="What is in this picture">${this.side()}</aside>
    </div>`;
  }
}

/** Attributes with a list of values, as choices of pictures. */
function attributeChoices(labels) {
  const found = new Map();
  for (const label of labels) {
    for (const { name, input_type: kind, values } of label.attributes) {
      if (kind === "select" || kind === "radio") for (const value of values) found.set(`attribute:${name}=${value}`, `${name}: ${value}`);
    }
  }
  return [...found].slice(0, 200);
}

/** Attributes of any text or number, each with the way to ask for it; numbers that labels declare as text are both.
 * @returns {["holds" | "between", string][]} */
function openAttributes(labels) {
  const found = new Map();
  for (const label of labels) {
    for (const { name, input_type: kind } of label.attributes) {
      if (kind === "number" || NUMBERS.has(name)) found.set(name, "between");
      else if (kind === "text" && !found.has(name)) found.set(name, "holds");
    }
  }
  return [...found].slice(0, 200).map(([name, kind]) => [kind, name]);
}

/** Attributes that hold numbers, whatever a label says. */
const NUMBERS = new Set(["score", "predicted_iou", "yes_votes", "no_votes", "unsure_votes"]);

const askFor = (kind, name) => `${kind}:${name}=${kind === "between" ? ".." : ""}`;

/** "between:score=0.5.." → its parts; null for other choices */
function partialWish(only) {
  const [kind, rest] = splitChoice(only);
  const at = rest.indexOf("=");
  return (kind === "holds" || kind === "between") && at > 0 ? { kind, name: rest.slice(0, at), text: rest.slice(at + 1) } : null;
}

/** "7" → ["label_id", "7"], "flag:truncated" → ["flag", "truncated"] */
function splitChoice(only) {
  if (!only.includes(":")) return /^\d+$/.test(only) ? ["label_id", only] : [only, ""];
  const at = only.indexOf(":");
  return [only.slice(0, at), only.slice(at + 1)];
}

customElements.define("ap-viewer", Viewer);
