import { all, post, remove } from "../api.js";
import { SERVICE } from "../router.js";
import { Part, copyText, html, icon, nothing } from "../dom.js";
import { ago, moment } from "../format.js";
import { quoted } from "../parts/commands.js";
import { toast, toastError } from "../parts/toasts.js";

const LIVES = [["30", "In a month"], ["7", "In a week"], ["365", "In a year"], ["", "Never"]];

/** Keys for scripts and tools. */
class Tokens extends Part {
  static properties = { user: { attribute: false }, tokens: { state: true }, fresh: { state: true }, copied: { state: true }, asked: { state: true }, busy: { state: true } };

  constructor() {
    super();
    /** @type {Who} */
    this.user = null;
    this.tokens = null;
    this.fresh = null;
    this.copied = false;
    this.asked = null;
    this.busy = false;
  }

  connectedCallback() {
    super.connectedCallback();
    document.title = "Access tokens · annoport";
    this.load();
  }

  async load() {
    try {
      this.tokens = await all("/api/auth/access_tokens");
    } catch (error) {
      toastError(error);
    }
  }

  async create(event) {
    event.preventDefault();
    const form = new FormData(event.target);
    const days = Number(form.get("life"));
    this.busy = true;
    try {
      this.fresh = await post("/api/auth/access_tokens", {
        name: String(form.get("name")).trim(),
        read_only: form.get("read_only") === "on",
        expiry_date: days ? new Date(Date.now() + days * 86400_000).toISOString() : null,
      });
      this.copied = false;
      event.target.reset();
      await this.load();
      /** @type {HTMLElement} */ (this.querySelector(".fresh button"))?.focus();
    } catch (error) {
      toastError(error);
    } finally {
      this.busy = false;
    }
  }

  async revoke(token) {
    if (this.asked !== token.id) {
      this.asked = token.id;
      return;
    }
    try {
      await remove(`/api/auth/access_tokens/${token.id}`);
      if (this.fresh?.id === token.id) this.fresh = null;
      toast(`“${token.name}” no longer works`);
      await this.load();
    } catch (error) {
      toastError(error);
    }
  }

  lines() {
    const port = location.port || (location.protocol === "https:" ? "443" : "80");
    return [
      { name: "Once", text: `export ANNOPORT_TOKEN=${this.fresh?.value ?? "…"}` },
      { name: "curl", text: `curl -H "Authorization: Bearer $ANNOPORT_TOKEN" ${quoted(`${SERVICE}/api/tasks`)}` },
      { name: "cvat-cli", text: `CVAT_ACCESS_TOKEN="$ANNOPORT_TOKEN" cvat-cli --server-host ${location.protocol}//${location.hostname} --server-port ${port} task ls` },
    ];
  }

  render() {
    return html`<main class="page narrow" id="main">
      <h1>Access tokens</h1>
      <p>A token lets a script or a tool work in your name: <span class="mono">Authorization: Bearer …</span></p>
      <form class="panel row wrap bottoms" @submit=${this.create}>
        <label class="grow stack tight"><span class="name">What is it for?</span><input name="name" required maxlength="256" autocomplete="off" placeholder="nightly export"></label>
        <label class="stack tight"><span class="name">Ends</span><select name="life">${LIVES.map(([days, words]) => html`<option value=${days}>${words}</option>`)}</select></label>
        <label class="check"><input type="checkbox" name="read_only"><span>Reading only</span></label>
        <button type="submit" class="button primary" ?disabled=${this.busy}>Create</button>
      </form>
      ${this.fresh
        ? html`<section class="panel fresh" aria-label="The new token">
            <p><strong>Copy it now.</strong> It is not shown again.</p>
            <div class="command"><pre tabindex="0"><code>${this.fresh.value}</code></pre>
              <button type="button" class="button primary" @click=${async () => (this.copied = await copyText(this.fresh.value))}>${icon(this.copied ? "check" : "copy")} ${this.copied ? "Copied" : "Copy"}</button></div>
          </section>`
        : nothing}
      ${this.tokens === null
        ? nothing
        : this.tokens.length
          ? html`<ul class="requests">${this.tokens.map(
              (token) => html`<li class="request">${icon("key")}
                <div class="grow"><strong>${token.name}</strong> ${token.read_only ? html`<span class="chip">reading only</span>` : nothing}
                  <div class="fine">Made ${ago(token.created_date)}, ${token.last_used_date ? `last used ${ago(token.last_used_date)}` : "never used"}${token.expiry_date ? html`, ends ${moment(token.expiry_date)}` : nothing}</div></div>
                <button type="button" class="button small ${this.asked === token.id ? "danger" : ""}" @click=${() => this.revoke(token)} @blur=${() => (this.asked = null)}>${this.asked === token.id ? "Really revoke" : "Revoke"}</button></li>`,
            )}</ul>`
          : html`<div class="nothing">${icon("key")}<p>No tokens yet.</p></div>`}
      <ap-commands heading="With a token, from a terminal" .lines=${this.lines()}></ap-commands>
    </main>`;
  }
}

customElements.define("ap-tokens", Tokens);
