// Addresses of the page. Links are plain links; this only keeps the browser from loading the page anew.

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
    const match = pattern.exec(location.pathname);
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

export function go(path, { replace = false } = {}) {
  if (path !== location.pathname + location.search) history[replace ? "replaceState" : "pushState"]({}, "", path);
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
    if (/^\/(api|samples|web|metrics|health)(\/|$)/.test(link.pathname)) return;
    event.preventDefault();
    go(link.pathname + link.search);
  });
}
