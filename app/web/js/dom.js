// What every part of the page uses to show itself. Text reaches the page through templates only, which escape it.

import { LitElement, html as plainHTML, nothing, svg as plainSVG } from "lit";
import { Directive, PartType, directive } from "lit-html/directive.js";
import { noChange } from "lit-html";
import { ROOT } from "./router.js";

export { nothing };

/**
 * A template tag for addresses that begin at the service's root: under a path they begin with it. Each template is
 * rewritten once.
 * @template {(strings: TemplateStringsArray, ...values: any[]) => any} Tag
 * @param {Tag} tag
 * @returns {Tag}
 */
function rooted(tag) {
  if (!ROOT) return tag;
  const made = new WeakMap();
  return /** @type {Tag} */ ((strings, ...values) => {
    if (!made.has(strings)) {
      const parts = strings.map((text) => text.replace(/\b(href|src)="\//g, `$1="${ROOT}/`));
      made.set(strings, Object.assign(parts, { raw: parts }));
    }
    return tag(made.get(strings), ...values);
  });
}

export const html = rooted(plainHTML);
export const svg = rooted(plainSVG);

/** A part of the page. It lives in the document itself, so one style sheet and one set of ids serve all parts. */
export class Part extends LitElement {
  createRenderRoot() {
    return this;
  }

  /** Tell those outside. */
  tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true }));
  }
}

class CSSValues extends Directive {
  constructor(part) {
    super(part);
    if (part.type !== PartType.ELEMENT) throw new Error("css() stands where attributes stand");
  }

  /** @param {Record<string, string | null | undefined>} _values */
  render(_values) {
    return noChange;
  }

  // Style attributes are forbidden by the content security policy; properties set by a script of our own are not.
  update(part, [values]) {
    for (const [name, value] of Object.entries(values)) {
      if (value === null || value === undefined) part.element.style.removeProperty(name);
      else part.element.style.setProperty(name, String(value));
    }
    return noChange;
  }
}

/** `<div ${css({ width: "40%" })}>` */
export const css = directive(CSSValues);

let counter = 0;

/** An id that no other element has. */
export function freshId(prefix = "id") {
  counter += 1;
  return `${prefix}-${counter}`;
}

const PATHS = {
  add: "M12 5v14M5 12h14",
  back: "M15 5l-7 7 7 7",
  forward: "M9 5l7 7-7 7",
  close: "M6 6l12 12M18 6L6 18",
  check: "M5 12.5l4.5 4.5L19 7.5",
  copy: "M9 9h10v10H9zM5 15V5h10",
  download: "M12 4v11m0 0l-4.5-4.5M12 15l4.5-4.5M5 19.5h14",
  upload: "M12 16V5m0 0L7.5 9.5M12 5l4.5 4.5M5 19.5h14",
  trash: "M5 7h14M10 7V5h4v2M7 7l1 12h8l1-12M10.5 10.5v5.5M13.5 10.5v5.5",
  search: "M11 5a6 6 0 1 1 0 12 6 6 0 0 1 0-12zM15.5 15.5L20 20",
  pause: "M9 6v12M15 6v12",
  play: "M8 5.5v13l10.5-6.5z",
  retry: "M19 12a7 7 0 1 1-2.2-5.1M19 4.5V9h-4.5",
  warning: "M12 4.5L21 19.5H3zM12 10v4.5M12 17v.2",
  error: "M12 4a8 8 0 1 1 0 16 8 8 0 0 1 0-16zM12 8v5M12 16v.2",
  info: "M12 4a8 8 0 1 1 0 16 8 8 0 0 1 0-16zM12 11v5M12 8v.2",
  file: "M7 4h7l4 4v12H7zM14 4v4h4",
  folder: "M4 7a1 1 0 0 1 1-1h4l2 2h8a1 1 0 0 1 1 1v9a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1z",
  image: "M5 5h14v14H5zM5 16l4.5-4.5 3 3L15 12l4 4M15 9v.2",
  table: "M5 5h14v14H5zM5 10h14M5 14.5h14M11 10v9",
  mask: "M5 12c0-4 3-7 7-7s7 2 7 6-3 3-3 5-2 3-4 3-7-3-7-7z",
  terminal: "M5 7l4.5 5L5 17M12 17h7",
  tag: "M4.5 5.5v6l8 8 6.5-6.5-8-8h-6zM8 8.5v.2",
  box: "M5 6h14v12H5z",
  polygon: "M5 9l7-4.5 7 4-2 9.5-9 1.5z",
  eye: "M3.5 12S7 6.5 12 6.5s8.500 5.500 8.500 5.500S17 17.500 12 17.500 3.500 12 3.500 12zM12 10a2 2 0 1 1 0 4 2 2 0 0 1 0-4z",
  hidden: "M4 4l16 16M7 8c-2.200 1.600-3.500 4-3.500 4S7 17.500 12 17.500c1.300 0 2.500-.300 3.500-.800M10 6.700A9 9 0 0 1 12 6.500c5 0 8.500 5.500 8.500 5.500a14 14 0 0 1-2.200 2.700",
  user: "M12 5a3.500 3.500 0 1 1 0 7 3.500 3.500 0 0 1 0-7zM5 19.500c.8-3.500 3.500-5 7-5s6.200 1.500 7 5",
  key: "M8.500 10a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM11.500 11.500L19 4.500M16 7.500l2.500 2.500",
  help: "M12 4a8 8 0 1 1 0 16 8 8 0 0 1 0-16zM9.700 10c0-3 4.600-3 4.600 0 0 1.800-2.300 1.800-2.300 3.500M12 16.300v.2",
  more: "M6 12v.2M12 12v.2M18 12v.2",
  fit: "M5 9V5h4M15 5h4v4M19 15v4h-4M9 19H5v-4",
  sun: "M12 8.500a3.500 3.500 0 1 1 0 7 3.500 3.500 0 0 1 0-7zM12 3.500v2M12 18.500v2M3.500 12h2M18.500 12h2M6 6l1.400 1.400M16.600 16.600L18 18M18 6l-1.400 1.400M7.400 16.600L6 18",
  activity: "M3.500 12h4l2.500-6 4 12 2.500-6h4",
  clock: "M12 4a8 8 0 1 1 0 16 8 8 0 0 1 0-16zM12 8v4.500l3 2",
};

/** A small drawing beside a word; never the only thing that says something. */
export function icon(name) {
  return html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false"><path d=${PATHS[name]}></path></svg>`;
}

/** Put a text on the clipboard; false where the browser refuses. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

/** Offer bytes made here as a download. */
export function saveBlob(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
