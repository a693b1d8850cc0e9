// The page itself: who is here, which page is shown, the bar on top.

import { APIError, get, post } from "./api.js";
import { Part, html, icon, nothing } from "./dom.js";
import { ROOT, go, listen, where } from "./router.js";
import { toastError } from "./parts/toasts.js";
import { keyList } from "./pages/help.js";
import "./parts/commands.js";
import "./parts/drop.js";
import "./parts/progress.js";
import "./parts/report.js";
import "./parts/small.js";
import "./parts/toasts.js";
import "./parts/tree.js";
import "./pages/activity.js";
import "./pages/new.js";
import "./pages/sign-in.js";
import "./pages/task.js";
import "./pages/tasks.js";
import "./pages/tokens.js";

const THEMES = ["auto", "light", "dark"];

function themeNow() {
  const held = localStorage.getItem("annoport.theme");
  return THEMES.includes(held) ? held : "auto";
}

function wear(theme) {
  document.documentElement.dataset.theme = theme;
}

wear(themeNow());

class App extends Part {
  static properties = { user: { state: true }, place: { state: true }, failed: { state: true }, theme: { state: true } };

  constructor() {
    super();
    /** undefined: not known yet; null: nobody; else who */
    this.user = undefined;
    this.place = where();
    this.failed = null;
    this.theme = themeNow();
    window.addEventListener("ap-moved", () => this.moved());
    window.addEventListener("ap-signed-out", () => {
      if (this.user?.how === "session" || this.user === undefined) this.user = null;
    });
    document.addEventListener("keydown", (event) => this.key(event));
    listen();
    this.find();
  }

  async find() {
    this.failed = null;
    try {
      const user = await get("/api/users/self");
      this.user = { ...user, how: document.cookie.includes("csrftoken=") ? "session" : "local" };
    } catch (error) {
      if (error instanceof APIError && error.status === 401) this.user = null;
      else this.failed = error;
    }
  }

  moved() {
    const before = this.place;
    this.place = where();
    if (before.page !== this.place.page || before.id !== this.place.id) {
      scrollTo(0, 0);
      this.updateComplete.then(() => this.querySelector("#main")?.setAttribute("tabindex", "-1"));
    }
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target instanceof Element ? event.target : null;
    if (target?.closest("input, select, textarea, dialog[open]")) return;
    if (event.key === "?") {
      event.preventDefault();
      /** @type {HTMLDialogElement} */ (this.querySelector("dialog.help")).showModal();
      return;
    }
    const keyed = /** @type {NodeListOf<HTMLInputElement>} */ (this.querySelectorAll("[data-key]"));
    const found = [...keyed].find((element) => element.dataset.key === event.key && !element.disabled);
    if (!found) return;
    event.preventDefault();
    if (found.tagName === "INPUT") found.focus();
    else found.click();
  }

  nextTheme() {
    this.theme = THEMES[(THEMES.indexOf(this.theme) + 1) % THEMES.length];
    localStorage.setItem("annoport.theme", this.theme);
    wear(this.theme);
  }

  async signOut() {
    try {
      await post("/api/auth/logout");
      this.user = undefined;
      await this.find();
      go("/");
    } catch (error) {
      toastError(error);
    }
  }

  content() {
    const { page, id, tab, query } = this.place;
    switch (page) {
      case "tasks":
        return html`<ap-tasks .user=${this.user}></ap-tasks>`;
      case "new":
        return html`<ap-new-task .user=${this.user}></ap-new-task>`;
      case "task":
        return html`<ap-task .taskId=${id} .tab=${tab} .user=${this.user}></ap-task>`;
      case "activity":
        return html`<ap-activity .user=${this.user}></ap-activity>`;
      case "tokens":
        return html`<ap-tokens .user=${this.user}></ap-tokens>`;
      case "help":
        return html`<ap-help></ap-help>`;
      default:
        return html`<main class="page narrow" id="main"><div class="nothing"><h1>Nothing is here</h1><p>This address leads nowhere${query.size ? " any more" : ""}.</p>
          <p class="row center"><a class="button primary" href="/">To the tasks</a></p></div></main>`;
    }
  }

  bar() {
    const { page } = this.place;
    const link = (href, name, words, drawn) => html`<a href=${ROOT + href} aria-current=${page === name ? "page" : nothing}>${icon(drawn)}<span>${words}</span></a>`;
    return html`<header class="bar-top">
      <a class="skip" href="#main" @click=${(event) => {
        event.preventDefault();
        /** @type {HTMLElement | null} */ (this.querySelector("#main"))?.focus();
      }}>To the content</a>
      <a class="brand" href="/" aria-label="annoport: all tasks"><img src="/logo.svg" alt="" width="26" height="26"><span>annoport</span></a>
      ${this.user
        ? html`<nav aria-label="Main">
            ${link("/", "tasks", "Tasks", "image")}${link("/activity", "activity", "Activity", "activity")}${link("/help", "help", "Help", "help")}${link("/tokens", "tokens", "Tokens", "key")}
          </nav>`
        : html`<span class="grow"></span>`}
      <button type="button" class="button quiet small square" aria-label="Colours: ${this.theme}" title="Colours: ${this.theme}" @click=${() => this.nextTheme()}>${icon("sun")}</button>
      ${this.user?.how === "session"
        ? html`<span class="who fine hide-small">${icon("user")} ${this.user.username}</span><button type="button" class="button quiet small" @click=${() => this.signOut()}>Sign out</button>`
        : nothing}
    </header>`;
  }

  render() {
    return html`
      ${this.bar()}
      ${this.failed
        ? html`<main class="page narrow" id="main"><div class="nothing"><h1>The service does not answer</h1><p>${this.failed.message}</p>
            <p class="row center"><button type="button" class="button primary" @click=${() => this.find()}>Try again</button></p></div></main>`
        : this.user === undefined
          ? html`<main class="page" id="main" aria-busy="true"></main>`
          : this.user === null
            ? html`<ap-sign-in @ap-signed-in=${() => this.find()}></ap-sign-in>`
            : this.content()}
      <ap-toasts></ap-toasts>
      <dialog class="help" aria-labelledby="keys-title"><h2 id="keys-title">Keys</h2>${keyList()}
        <button type="button" class="button primary" autofocus @click=${(event) => event.target.closest("dialog").close()}>Close</button></dialog>
    `;
  }
}

customElements.define("ap-app", App);
