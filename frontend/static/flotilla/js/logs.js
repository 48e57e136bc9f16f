// The log viewer: follows, filters, wraps, copies. It asks only for what comes after its last line, so that it goes on
// through rotations and restarts; when the cluster can't be asked it says so and keeps what it shows.

const EVERY = 2000;
const SLOWEST = 15000;
const TIMEOUT = 15000;
const MEMORY = 20000; // lines kept; older ones are in the download
const SHOWN = 10000; // rows in the page
const BATCH = 1000; // rows made in one frame
const CHUNK = 250; // rows that are laid out together, once they come into view
const PROBLEM = /\b(error|exception|traceback|fatal|critical|failed|killed|oom)\b/i;
const LONGEST = 10000; // characters of a line that are kept: the download has all of them
// Colours, titles and links of terminals, and what else a terminal would not print.
const CONTROLS = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-Z\\^-~])|[\x00-\x08\x0e-\x1f\x7f]/g;
const TIMED = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/;
const VOICE = /^(\d+) (\S+) (.*)$/s;
const KEPT = { container: "", previous: "", since: "", grep: "", wrap: "", times: "" };

class Log {
  constructor(root) {
    this.root = root;
    const find = (name) => root.querySelector(`[data-log-${name}]`);
    this.lines = find("lines");
    this.title = root.querySelector("h2");
    this.state = find("state");
    this.filter = find("filter");
    this.count = find("count");
    this.follow = find("follow");
    this.container = find("container");
    this.previous = find("previous");
    this.since = find("since");
    this.wrap = find("wrap");
    this.times = find("times");
    this.save = find("save");
    this.picks = [...root.querySelectorAll("[data-log-pick]")];
    this.text = this.lines.textContent.replace(/\n$/, "");
    this.kept = this.text ? this.text.split("\n").map((text) => ({ time: "", text })) : [];
    this.wait = EVERY;
    this.due = 0;
    this.restore();
    this.listen();
    this.draw();
    this.fetch();
  }

  get url() { return this.root.dataset.log; }
  get ended() { return this.root.hasAttribute("data-ended"); }
  get paused() { return document.hidden || localStorage.getItem("flotilla.paused") === "1"; }

  // What is chosen lives in the address, so that a link shows the same.
  restore() {
    const chosen = new URLSearchParams(location.search);
    this.wanted = chosen.get("container") || "";
    this.filter.value = chosen.get("grep") || "";
    this.wrap.checked = chosen.get("wrap") === "1";
    this.times.checked = chosen.get("times") === "1";
    if ([...this.since.options].some((option) => option.value === chosen.get("since"))) this.since.value = chosen.get("since");
    for (const pick of this.picks) {
      const value = chosen.get(pick.dataset.logPick) || "";
      if ([...pick.options].some((option) => option.value === value)) pick.value = value;
    }
    if (chosen.get("previous") === "1") {
      this.previous.checked = true;
      this.previous.closest("label").hidden = false;
    }
    this.look();
  }

  listen() {
    this.filter.addEventListener("input", () => { this.remember(); this.draw(); });
    this.follow.addEventListener("change", () => { this.due = 0; this.toEnd(); this.tell(); });
    for (const control of [this.wrap, this.times]) control.addEventListener("change", () => { this.look(); this.remember(); this.toEnd(); });
    for (const control of [this.container, this.previous, this.since]) control.addEventListener("change", () => this.restart());
    // What is read is then chosen by the server, for the whole page.
    for (const pick of this.picks) pick.addEventListener("change", () => { this.remember(); location.reload(); });
    const copied = (line) => (line.label ? `${line.label} ${line.text}` : line.text);
    this.root.querySelector("[data-log-copy]").addEventListener("click", () => navigator.clipboard?.writeText(this.matching().map(copied).join("\n")));
    this.lines.addEventListener("scroll", () => {
      const atEnd = this.lines.scrollHeight - this.lines.scrollTop - this.lines.clientHeight < 24;
      if (this.follow.checked && !atEnd && this.byHand) { this.follow.checked = false; this.tell(); }
    });
    for (const kind of ["wheel", "touchmove", "keydown"]) this.lines.addEventListener(kind, () => { this.byHand = true; }, { passive: true });
  }

  look() {
    this.root.classList.toggle("wrapped", this.wrap.checked);
    this.root.classList.toggle("timed", this.times.checked);
    if (this.save && this.url) this.save.href = this.address({ download: "1", times: this.times.checked ? "1" : "0" });
  }

  remember() {
    const address = new URL(location.href);
    const now = { ...KEPT, container: this.wanted, since: this.since.value, grep: this.filter.value };
    for (const [name, control] of [["previous", this.previous], ["wrap", this.wrap], ["times", this.times]]) now[name] = control.checked ? "1" : "";
    for (const pick of this.picks) now[pick.dataset.logPick] = pick.value;
    for (const [name, value] of Object.entries(now)) {
      address.searchParams.delete(name);
      if (value) address.searchParams.set(name, value);
    }
    history.replaceState(history.state, "", address);
  }

  address(more) {
    const address = new URL(this.url, location.href);
    const query = { container: this.wanted, previous: this.previous.checked ? "1" : "", since: this.since.value, ...more };
    for (const pick of this.picks) query[pick.dataset.logPick] = pick.value;
    for (const [name, value] of Object.entries(query)) if (value) address.searchParams.set(name, value);
    return address;
  }

  // Another container, start or span: begin anew.
  restart() {
    this.wanted = this.container.value || this.wanted;
    this.remember();
    this.look();
    this.root.removeAttribute("data-ended");
    this.kept = [];
    this.older = false;
    this.answered = false;
    this.heard = false;
    this.note = "";
    this.keeps = "";
    this.asking?.abort();
    this.asking = null;
    this.draw();
    this.fetch();
  }

  // The time of the last line, and how many lines have it: the server goes on from there.
  // Of several replicas the server says how far each was read.
  mark() {
    if (this.marks) return this.answered ? { marks: this.marks } : {};
    const last = this.kept.at(-1)?.time;
    if (!this.answered || !last) return {};
    let seen = 0;
    for (let at = this.kept.length - 1; at >= 0 && this.kept[at].time === last; at -= 1) seen += 1;
    return { after: last, seen: String(seen) };
  }

  async fetch() {
    if (!this.url || this.asking) return;
    const asking = new AbortController();
    this.asking = asking;
    const tooLong = setTimeout(() => asking.abort("timeout"), TIMEOUT);
    try {
      const mark = this.mark();
      const answer = await fetch(this.address(mark), { headers: { Accept: "text/plain" }, signal: asking.signal });
      const body = await answer.text();
      if (this.asking === asking) this.take(answer, body, Boolean(mark.after || mark.marks));
    } catch {
      if (this.asking === asking || asking.signal.reason === "timeout") this.trouble("No answer, trying again");
    } finally {
      clearTimeout(tooLong);
      if (this.asking === asking) this.asking = null;
    }
  }

  take(answer, body, goesOn) {
    const header = (name) => answer.headers.get(`X-Log-${name}`);
    if (!answer.ok) return this.trouble(`Not available (${answer.status})`);
    this.heard = true;
    this.note = decodeURIComponent(header("Note") || "");
    this.keeps = decodeURIComponent(header("Kept") || "");
    // Between two attempts the log goes on with another pod's.
    if (header("Of")) this.title.textContent = `Log of ${decodeURIComponent(header("Of"))}`;
    this.choices(header("Containers"), header("Container"), header("Restarted"));
    if (header("Older")) this.older = true;
    if (header("End")) this.root.setAttribute("data-ended", "");
    const fresh = this.parse(body, header("Timed"), header("Voices"));
    if (header("Voices")) this.marks = header("Marks") || this.marks;
    // The first answer replaces what the page came with, unless it has nothing to put in its place.
    const replaces = !goesOn && (fresh.length || !this.note);
    if (replaces && this.differs(fresh)) {
      this.kept = [];
      this.add(fresh, true);
    } else if (!replaces && fresh.length) this.add(fresh, false);
    if (fresh.length) this.answered = true;
    this.wait = this.note && !fresh.length ? Math.min(this.wait * 1.6, SLOWEST) : EVERY;
    this.due = Date.now() + (header("More") ? 0 : this.wait);
    this.tell();
  }

  trouble(text) {
    this.note = text;
    this.keeps = "";
    this.wait = Math.min(this.wait * 1.6, SLOWEST);
    this.due = Date.now() + this.wait;
    this.tell();
  }

  parse(body, timed, voices) {
    if (!body) return [];
    return body.replace(/\n$/, "").split("\n").map((line) => {
      const at = timed ? line.indexOf(" ") : -1;
      const time = at > 0 && TIMED.test(line.slice(0, at)) ? line.slice(0, at) : "";
      // "time colour label text", where several replicas speak.
      const voice = voices ? VOICE.exec(line.slice(at + 1)) : null;
      const [colour, label] = voice ? [Number(voice[1]), voice[2]] : [0, ""];
      const said = (voice ? voice[3] : time ? line.slice(at + 1) : line).replace(CONTROLS, "");
      // A progress bar writes over itself: what it wrote last is what a terminal would show.
      const text = said.replace(/\r$/, "").split("\r").at(-1);
      const over = text.length - LONGEST;
      return { time, colour, label, text: over > 0 ? `${text.slice(0, LONGEST)} … ${over.toLocaleString("en")} more characters` : text };
    });
  }

  differs(fresh) {
    return fresh.length !== this.kept.length || fresh.some((line, at) => line.text !== this.kept[at].text || line.time !== this.kept[at].time);
  }

  choices(names, chosen, restarted) {
    const listed = names ? names.split(",") : [];
    if (listed.join() !== [...this.container.options].map((option) => option.value).join()) {
      this.container.replaceChildren(...listed.map((name) => new Option(name, name)));
    }
    if (chosen) this.container.value = chosen;
    this.container.closest("label").hidden = listed.length < 2;
    if (restarted || this.previous.checked) this.previous.closest("label").hidden = false;
  }

  add(fresh, anew) {
    const was = this.kept.length;
    if (!anew) fresh = this.overtaking(fresh);
    this.kept = anew ? fresh : this.kept.concat(fresh);
    const over = this.kept.length - MEMORY;
    if (over > 0) {
      this.kept.splice(0, over);
      this.older = true;
    }
    if (anew || !was || this.drawing) return this.draw();
    const shown = fresh.filter((line) => this.matches(line));
    this.drop(this.rows + shown.length - SHOWN);
    this.append(shown.slice(-SHOWN));
    this.found += shown.length;
    this.toEnd();
    this.tally();
  }

  // Replicas are heard at different times: what one wrote before another's last line goes before that, so that those
  // lines are taken off and come again in their order.
  overtaking(fresh) {
    const first = fresh[0]?.label ? fresh[0].time : "";
    let from = this.kept.length;
    while (first && from > 0 && this.kept[from - 1].time > first) from -= 1;
    const tail = this.kept.splice(from);
    if (!tail.length) return fresh;
    const shown = tail.filter((line) => this.matches(line)).length;
    this.undraw(shown);
    this.found -= shown;
    return [...tail, ...fresh].sort((one, other) => (one.time < other.time ? -1 : one.time > other.time ? 1 : 0));
  }

  undraw(count) {
    while (count > 0 && this.rows > 0 && this.lines.lastElementChild) {
      const chunk = this.lines.lastElementChild;
      const goes = Math.min(count, chunk.childElementCount);
      if (goes === chunk.childElementCount) chunk.remove();
      else for (let at = 0; at < goes; at += 1) chunk.lastElementChild.remove();
      count -= goes;
      this.rows -= goes;
    }
  }

  // Whole chunks leave at the top, so that what is on the screen does not jump line by line.
  drop(over) {
    while (over >= CHUNK && this.lines.firstElementChild) {
      const chunk = this.lines.firstElementChild;
      const height = this.follow.checked ? 0 : chunk.offsetHeight;
      over -= chunk.childElementCount;
      this.rows -= chunk.childElementCount;
      chunk.remove();
      if (height) this.lines.scrollTop -= height;
    }
  }

  // Plain text, or /a regular expression/.
  pattern() {
    const text = this.filter.value.trim();
    this.filter.removeAttribute("aria-invalid");
    if (!text) return null;
    const given = /^\/(.+)\/([ims]*)$/.exec(text);
    try {
      return given ? new RegExp(given[1], `${given[2].replace("g", "")}g`) : new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "gi");
    } catch {
      this.filter.setAttribute("aria-invalid", "true");
      return null;
    }
  }

  matches(line) {
    if (!this.needle) return true;
    this.needle.lastIndex = 0;
    return this.needle.test(line.text);
  }

  matching() { return this.needle ? this.kept.filter((line) => this.matches(line)) : this.kept; }

  draw() {
    this.needle = this.pattern();
    const found = this.matching();
    const shown = found.slice(-SHOWN);
    this.found = found.length;
    this.rows = 0;
    this.lines.replaceChildren();
    this.drawing = null;
    if (shown.length) this.drawPart(shown, 0);
    else this.empty();
    this.tally();
  }

  drawPart(shown, from) {
    const part = {};
    this.drawing = part;
    this.append(shown.slice(from, from + BATCH));
    this.toEnd();
    if (from + BATCH >= shown.length) this.drawing = null;
    else requestAnimationFrame(() => { if (this.drawing === part) this.drawPart(shown, from + BATCH); });
  }

  empty() {
    const none = document.createElement("span");
    none.className = "faint said";
    none.textContent = this.needle && this.kept.length ? "No line matches." : this.why();
    this.lines.append(none);
  }

  // A remark may begin with a name, which stays as it is. Of a log that nobody has heard yet, or that can't be had now, it is not known whether anything was written.
  why() {
    const sentences = [this.note, this.keeps].filter(Boolean).map((text) => /[.?!]$/.test(text) ? text : `${text}.`);
    if (sentences.length) return sentences.join(" ");
    if (this.ended) return "Nothing was written.";
    return this.heard ? "Nothing written yet." : "Asking for the log…";
  }

  append(shown) {
    if (!shown.length) return;
    if (!this.rows) this.lines.replaceChildren();
    let chunk = this.lines.lastElementChild;
    for (const line of shown) {
      if (!chunk || chunk.childElementCount >= CHUNK) {
        chunk = document.createElement("div");
        this.lines.append(chunk);
      }
      const row = document.createElement("span");
      if (line.time) row.dataset.time = line.time.slice(0, 23).replace("T", " ").replace("Z", "");
      if (PROBLEM.test(line.text)) row.className = "err";
      if (line.label) {
        const voice = document.createElement("i");
        voice.className = `voice hue-${line.colour}${line.label.includes("/") ? " apart" : ""}`;
        voice.textContent = voice.title = line.label;
        row.append(voice, " ");
      }
      this.highlight(row, line.text);
      chunk.append(row);
    }
    this.rows += shown.length;
  }

  highlight(row, text) {
    let from = 0;
    if (this.needle) {
      this.needle.lastIndex = 0;
      for (const match of text.matchAll(this.needle)) {
        if (!match[0]) continue;
        const hit = document.createElement("mark");
        hit.textContent = match[0];
        row.append(text.slice(from, match.index), hit);
        from = match.index + match[0].length;
      }
    }
    row.append(text.slice(from) || (from ? "" : "\u200b"));
  }

  tell() {
    const going = this.ended ? "ended" : this.follow.checked ? "following" : "held";
    // Where there is no line, what is to be said stands in place of the lines.
    const text = !this.note ? going : this.rows || this.drawing ? this.note : this.ended ? "ended" : "waiting";
    if (this.state.textContent !== text) this.state.textContent = text;
    if (!this.rows && !this.drawing) { this.lines.replaceChildren(); this.empty(); }
  }

  tally() {
    const number = (value) => value.toLocaleString("en");
    const all = `${number(this.kept.length)} line${this.kept.length === 1 ? "" : "s"}`;
    let text = this.kept.length ? all : "";
    if (this.filter.hasAttribute("aria-invalid")) text = "not a regular expression";
    else if (this.needle) text = `${number(this.found)} of ${all}`;
    if (this.older) text += ", the newest";
    this.count.textContent = text;
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
  const now = Date.now();
  for (const log of logs.values()) if (log.follow.checked && !log.ended && !log.paused && now >= log.due) log.fetch();
}, 250);
document.addEventListener("flotilla:swapped", find);
document.addEventListener("htmx:afterSettle", find);
find();
