import { post } from "../api.js";
import { Part, html, icon, nothing } from "../dom.js";

/** Name and password. Tells `ap-signed-in`. */
class SignIn extends Part {
  static properties = { refused: { state: true }, busy: { state: true } };

  constructor() {
    super();
    this.refused = "";
    this.busy = false;
  }

  connectedCallback() {
    super.connectedCallback();
    document.title = "Sign in · annoport";
  }

  firstUpdated() {
    this.querySelector("input")?.focus();
  }

  async enter(event) {
    event.preventDefault();
    const form = new FormData(event.target);
    this.busy = true;
    this.refused = "";
    try {
      await post("/api/auth/login", { username: form.get("username"), password: form.get("password") });
      this.tell("ap-signed-in");
    } catch (error) {
      this.refused = error.status === 400 ? "That name and password do not go together." : error.message;
      await this.updateComplete;
      /** @type {HTMLInputElement} */ (this.querySelector("input[name=password]")).select();
    } finally {
      this.busy = false;
    }
  }

  render() {
    return html`<main class="page sign-in" id="main">
      <form class="panel stack" @submit=${this.enter}>
        <img src="/logo.svg" alt="" width="48" height="48">
        <h1>Sign in to annoport</h1>
        ${this.refused ? html`<div class="notice bad" role="alert">${icon("error")} <span>${this.refused}</span></div>` : nothing}
        <label class="stack tight"><span class="name">Name</span><input name="username" autocomplete="username" required autocapitalize="none" spellcheck="false"></label>
        <label class="stack tight"><span class="name">Password</span><input name="password" type="password" autocomplete="current-password" required></label>
        <button type="submit" class="button primary big" ?disabled=${this.busy}>${this.busy ? "Signing in …" : "Sign in"}</button>
        <p class="fine">Whoever runs this service makes accounts: <span class="mono">annoport user add</span></p>
      </form>
    </main>`;
  }
}

customElements.define("ap-sign-in", SignIn);
