// The log viewer: follows, filters, wraps, copies. It appends what is new and keeps the place of who reads above.

const EVERY = 2000;
const PROBLEM = /\b(error|exception|traceback|fatal|critical|failed|killed|oom)\b/i;

class Log {
  constructor(root) {
    this.root = root;
    this.lines = root.querySelector("[data-log-lines]");
    this.state = root.querySelector("[data-log-state]");
    this.filter = root.querySelector("[data-log-filter]");
    this.follow = root.querySelector("[data-log-follow]");
    this.text = this.lines.textContent;
    this.busy = false;
    this.filter.addEventListener("input", () => this.draw());
    this.follow.addEventListener("change", () => this.toEnd());
    root.querySelector("[data-log-wrap]").addEventListener("change", (event) => root.classList.toggle("wrapped", event.target.checked));
    root.querySelector("[data-log-copy]").addEventListener("click", () => navigator.clipboard?.writeText(this.text));
    this.lines.addEventListener("scroll", () => {
      const atEnd = this.lines.scrollHeight - this.lines.scrollTop - this.lines.clientHeight < 24;
      if (this.follow.checked && !atEnd && this.byHand) this.follow.checked = false;
    });
    for (const kind of ["wheel", "touchmove", "keydown"]) this.lines.addEventListener(kind, () => { this.byHand = true; }, { passive: true });
    this.draw();
    this.fetch();
  }

  get url() { return this.root.dataset.log; }
  get ended() { return this.root.hasAttribute("data-ended"); }
  get paused() { return document.hidden || localStorage.getItem("flotilla.paused") === "1"; }

  async fetch() {
    if (!this.url || this.busy) return;
    this.busy = true;
    try {
      const answer = await fetch(this.url, { headers: { Accept: "text/plain" }, signal: AbortSignal.timeout(15000) });
      const body = await answer.text();
      if (!answer.ok) return this.say(answer.headers.get("X-Log-Note") || `not available (${answer.status})`);
      if (answer.headers.has("X-Log-End")) this.root.setAttribute("data-ended", "");
      this.say(answer.headers.get("X-Log-Note") || (this.ended ? "ended" : "following"));
      this.take(body);
    } catch {
      this.say("no answer, trying again");
    } finally {
      this.busy = false;
    }
  }

  say(text) {
    if (this.state.textContent !== text) this.state.textContent = text;
  }

  // The server sends the tail again. What continues what we have is appended, anything else replaces it.
  take(body) {
    if (body === this.text) return;
    const more = body.startsWith(this.text) ? body.slice(this.text.length) : null;
    const endsLine = this.text === "" || this.text.endsWith("\n");
    this.text = body;
    if (more !== null && endsLine && !this.filter.value) {
      this.append(more);
      this.toEnd();
    } else this.draw();
  }

  append(text) {
    const needle = this.filter.value.trim().toLowerCase();
    const box = document.createDocumentFragment();
    for (const line of text.replace(/\n$/, "").split("\n")) {
      if (needle && !line.toLowerCase().includes(needle)) continue;
      const row = document.createElement("span");
      if (PROBLEM.test(line)) row.className = "err";
      this.mark(row, line, needle);
      box.append(row);
    }
    this.lines.append(box);
  }

  mark(row, line, needle) {
    let at = needle ? line.toLowerCase().indexOf(needle) : -1;
    let from = 0;
    while (at !== -1) {
      const hit = document.createElement("mark");
      hit.textContent = line.slice(at, at + needle.length);
      row.append(line.slice(from, at), hit);
      from = at + needle.length;
      at = line.toLowerCase().indexOf(needle, from);
    }
    row.append(line.slice(from) || (from ? "" : "\u200b"));
  }

  draw() {
    this.lines.replaceChildren();
    if (this.text) this.append(this.text);
    if (!this.lines.firstChild) {
      const none = document.createElement("span");
      none.className = "faint";
      none.textContent = this.filter.value ? "No line matches." : this.ended ? "Nothing was written." : "Nothing written yet.";
      this.lines.append(none);
      // The first line takes its place.
      if (!this.text) this.text = "";
    }
    this.toEnd();
  }

  toEnd() {
    if (!this.follow.checked) return;
    this.byHand = false;
    this.lines.scrollTop = this.lines.scrollHeight;
  }
}

const logs = new Map();

function find() {
  for (const root of logs.keys()) if (!root.isConnected) logs.delete(root);
  for (const root of document.querySelectorAll("[data-log]")) if (!logs.has(root)) logs.set(root, new Log(root));
}

setInterval(() => {
  for (const log of logs.values()) if (log.follow.checked && !log.ended && !log.paused) log.fetch();
}, EVERY);
document.addEventListener("flotilla:swapped", find);
document.addEventListener("htmx:afterSettle", find);
find();
