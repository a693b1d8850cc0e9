// Addresses of the page. Links are plain links; this only keeps the browser from loading the page anew.

/** The path that the service lies under, behind a proxy that takes it off; "" at the root of a host. */
export const ROOT = new URL(import.meta.url).pathname.replace(/\/web\/[^/]+\/js\/[^/]+$/, "");

/** The address of the service, without a slash at its end. */
export const SERVICE = location.origin + ROOT;

// The drawing of the tab would be looked for anew after each move, where a relative address leads elsewhere.
const drawn = document.querySelector('link[rel="icon"]');
if (drawn instanceof HTMLLinkElement) drawn.href = `${SERVICE}/logo.svg`;

/** A path as the service knows it. */
const known = (path) => (ROOT && path.startsWith(ROOT) ? path.slice(ROOT.length) : path);

/** @type {[RegExp, string][]} */
const ROUTES = [
  [/^\/(?:tasks\/?)?$/, "tasks"],
  [/^\/tasks\/new$/, "new"],
  [/^\/tasks\/(\d+)(?:\/(pictures|import|health|export|labels))?\/?$/, "task"],
  [/^\/tasks\/(\d+)\/jobs\/(\d+)\/?$/, "task"],
  [/^\/activity$/, "activity"],
  [/^\/tokens$/, "tokens"],
  [/^\/help$/, "help"],
];

/** @returns {{page: string, id?: number, tab?: string, query: URLSearchParams}} */
export function where() {
  for (const [pattern, page] of ROUTES) {
    const match = pattern.exec(known(location.pathname));
    if (match) {
      const tab = match[2] && !/^\d+$/.test(match[2]) ? match[2] : "pictures";
      return { page, id: match[1] ? Number(match[1]) : undefined, tab, query: new URLSearchParams(location.search) };
    }
  }
  return { page: "lost", query: new URLSearchParams(location.search) };
}

/** Files that were dropped on one page and belong to the next. */
let handed = null;

export function hand(files) {
  handed = files;
}

export function takeHanded() {
  const files = handed;
  handed = null;
  return files;
}

/** @param {string} path below the service's own, with its query */
export function go(path, { replace = false } = {}) {
  const whole = ROOT + path;
  if (whole !== location.pathname + location.search) history[replace ? "replaceState" : "pushState"]({}, "", whole);
  window.dispatchEvent(new CustomEvent("ap-moved"));
}

/** Change the query of this address without moving. */
export function note(query) {
  const url = new URL(location.href);
  for (const [name, value] of Object.entries(query)) {
    if (value === null || value === undefined || value === "") url.searchParams.delete(name);
    else url.searchParams.set(name, String(value));
  }
  history.replaceState({}, "", url.pathname + url.search);
}

export function listen() {
  window.addEventListener("popstate", () => window.dispatchEvent(new CustomEvent("ap-moved")));
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target instanceof Element ? event.target.closest("a[href]") : null;
    if (!(link instanceof HTMLAnchorElement) || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
    if (!link.pathname.startsWith(`${ROOT}/`) || /^\/(api|samples|web|metrics|health)(\/|$)/.test(known(link.pathname))) return;
    event.preventDefault();
    go(known(link.pathname) + link.search);
  });
}
