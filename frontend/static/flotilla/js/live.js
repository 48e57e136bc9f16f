// Keeps the page up to date by hints: the stream says what changed, the elements that show it fetch themselves again.
// `data-live` lists an element's topics; `hx-trigger="hint"` makes htmx fetch it.

const GAP = 300; // an element fetches itself at most this often, in ms; data-gap asks for more
const POLL = 15000; // how often it looks while there is no stream
const STAGGER = 90; // a refresh of the whole page is spread out
const BACKOFF = { first: 1000, most: 30000 };
const SILENCE = 50000; // the server beats every 15 s; after this long the stream is dead without saying so

const url = document.getElementById("live-module").dataset.events;
const toggle = document.querySelector("[data-live-switch]");
const store = {
  get paused() { return localStorage.getItem("flotilla.paused") === "1"; },
  set paused(value) { value ? localStorage.setItem("flotilla.paused", "1") : localStorage.removeItem("flotilla.paused"); },
};

let source = null;
let open = false;
let delay = BACKOFF.first;
let retry = 0;
let heard = 0;
const last = new WeakMap(); // element → when it was fetched last
const waiting = new Map(); // element → its timer
const held = new Set(); // what changed while paused

/* The switch. */
const WORDS = { live: "Live", paused: "Paused", waiting: "Polling", connecting: "Live" };
const TITLES = {
  live: "Updates come as they happen. Press to pause (p)",
  paused: "This page stands still. Press to go on (p)",
  waiting: "The stream is lost: the page looks every 15 s, and reconnects by itself. Press to pause (p)",
  connecting: "Connecting. Press to pause (p)",
};

function show() {
  if (!toggle) return;
  const state = store.paused ? "paused" : open ? "live" : retry ? "waiting" : "connecting";
  toggle.dataset.state = state;
  toggle.title = TITLES[state];
  toggle.setAttribute("aria-pressed", String(store.paused));
  toggle.querySelector("[data-live-word]").textContent = WORDS[state];
  toggle.toggleAttribute("data-behind", held.size > 0);
}

/* Fetching. */
function liveElements() {
  return [...document.querySelectorAll("[data-live]")];
}

function fetchNow(element) {
  waiting.delete(element);
  if (!element.isConnected) return;
  if (store.paused || document.hidden) {
    held.add(element);
    show();
    return;
  }
  last.set(element, performance.now());
  window.htmx?.trigger(element, "hint");
}

function soon(element, extra = 0) {
  if (waiting.has(element)) return;
  const gap = Number(element.dataset.gap) || GAP;
  const rest = (last.get(element) ?? -gap) + gap - performance.now();
  waiting.set(element, setTimeout(fetchNow, Math.max(20, rest) + extra, element));
}

function everything() {
  liveElements().filter((element) => !element.hasAttribute("data-settled")).forEach((element, i) => soon(element, i * STAGGER));
}

function onHint(topic) {
  if (topic === "resync") return everything();
  for (const element of liveElements()) {
    if (element.dataset.live.split(/\s+/).includes(topic)) soon(element);
  }
}

function release() {
  const elements = [...held];
  held.clear();
  elements.forEach((element, i) => soon(element, i * STAGGER));
}

/* The stream. Browsers allow six connections to a server: hidden tabs give theirs back. */
function connect() {
  clearTimeout(connect.timer);
  if (source || document.hidden) return;
  source = new EventSource(url);
  heard = performance.now();
  source.addEventListener("hello", () => {
    open = true;
    retry = 0;
    delay = BACKOFF.first;
    heard = performance.now();
    // Subscribed now; what changed since the page was rendered is found by looking again.
    everything();
    show();
  });
  source.addEventListener("hint", (event) => { heard = performance.now(); onHint(event.data); });
  source.addEventListener("beat", () => { heard = performance.now(); });
  source.addEventListener("error", () => lost());
}

function disconnect() {
  source?.close();
  source = null;
  open = false;
}

function lost() {
  disconnect();
  retry += 1;
  show();
  connect.timer = setTimeout(connect, delay * (0.7 + Math.random() * 0.6));
  delay = Math.min(delay * 2, BACKOFF.most);
}

setInterval(() => {
  if (open && performance.now() - heard > SILENCE) lost();
}, 5000);
setInterval(() => { if (!open) everything(); }, POLL);
setInterval(() => {
  const now = performance.now();
  for (const element of document.querySelectorAll("[data-live][data-poll]:not([data-settled])")) {
    if (now - (last.get(element) ?? 0) >= Number(element.dataset.poll) * 1000) soon(element);
  }
}, 1000);

toggle?.addEventListener("click", () => {
  store.paused = !store.paused;
  document.dispatchEvent(new CustomEvent("flotilla:paused", { detail: store.paused }));
  if (!store.paused) release();
  show();
});
addEventListener("storage", (event) => {
  if (event.key !== "flotilla.paused") return;
  if (!store.paused) release();
  show();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) disconnect();
  else {
    release();
    connect();
  }
  show();
});
addEventListener("online", () => { delay = BACKOFF.first; connect(); });
addEventListener("pagehide", disconnect);
addEventListener("pageshow", connect);

// The verdict is the page's title, too: a tab says what is wrong.
document.addEventListener("flotilla:swapped", (event) => {
  if (event.target.dataset?.title) document.title = event.target.dataset.title;
});

/* A fragment that is gone: its object was deleted. Say so once, and stop asking. */
let toldGone = false;
document.addEventListener("htmx:responseError", (event) => {
  const element = event.target.closest("[data-live]");
  if (!element || event.detail.xhr.status !== 404) return;
  element.removeAttribute("data-live");
  element.classList.add("stale");
  if (toldGone) return;
  toldGone = true;
  const detail = { level: "warning", text: "What this page shows no longer exists. What you see is the last that was known." };
  document.dispatchEvent(new CustomEvent("flotilla:toast", { detail }));
});

show();
connect();
