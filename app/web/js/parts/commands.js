import { Part, copyText, html, icon, nothing } from "../dom.js";
import { ROOT, SERVICE } from "../router.js";

/** A text as one word of a POSIX shell. */
export function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** What every curl line needs to be let in. */
export function curlLogin(user) {
  return user?.how === "session" ? ' -H "Authorization: Bearer $ANNOPORT_TOKEN"' : "";
}

/** A file as a field of a curl form: names that hold what curl takes for its own go in quotes. */
export function formFile(field, name) {
  return `-F ${quoted(`${field}=@${/[;,"\\]/.test(name) ? `"${name.replace(/[\\"]/g, "\\$&")}"` : name}`)}`;
}

/** The beginning of a curl line that sends JSON. */
export function curlJSON(user, method, path, value) {
  return `curl${curlLogin(user)} -X ${method} ${quoted(`${SERVICE}${path}`)} -H 'Content-Type: application/json' -d ${quoted(JSON.stringify(value))}`;
}

/** The beginning of every cvat-cli line. */
export function cvat(user) {
  const port = location.port || (location.protocol === "https:" ? "443" : "80");
  const who = user?.how === "session" ? quoted(user.username) : "admin";
  // Under a path the host is the whole address, which the client takes as it is.
  if (ROOT) return `cvat-cli --server-host ${quoted(SERVICE)} --auth ${who}`;
  return `cvat-cli --server-host ${location.protocol}//${location.hostname} --server-port ${port} --auth ${who}`;
}

/**
 * The lines that do from a terminal what the page just did.
 * `lines`: [{name, text}]
 */
class Commands extends Part {
  static properties = {
    lines: { attribute: false },
    heading: {},
    open: { type: Boolean },
    copied: { state: true },
  };

  constructor() {
    super();
    this.lines = [];
    this.heading = "The same from a terminal";
    this.open = false;
    this.copied = -1;
  }

  async copy(index) {
    const done = await copyText(this.lines[index].text);
    this.copied = done ? index : -1;
    if (!done) {
      const range = document.createRange();
      range.selectNodeContents(this.querySelectorAll("code")[index]);
      getSelection()?.removeAllRanges();
      getSelection()?.addRange(range);
    }
    setTimeout(() => (this.copied = -1), 2000);
  }

  render() {
    if (!this.lines.length) return nothing;
    return html`<details class="commands" ?open=${this.open}>
      <summary>${icon("terminal")} ${this.heading}</summary>
      ${this.lines.map(
        (line, index) => html`<div class="command">
          <span class="command-name">${line.name}</span>
          <pre tabindex="0" aria-label="${line.name} line"><code>${line.text}</code></pre>
          <button type="button" class="button small" @click=${() => this.copy(index)} aria-label="Copy the ${line.name} line">
            ${icon(this.copied === index ? "check" : "copy")} ${this.copied === index ? "Copied" : "Copy"}
          </button>
        </div>`,
      )}
    </details>`;
  }
}

customElements.define("ap-commands", Commands);
