// Small manners of every page: ages that tick, menus, the drawer, dialogs that ask once, toasts, copying.

const skew = (() => {
  const told = document.querySelector('meta[name="server-time"]')?.content;
  // Ages are by the server's clock: the browser's may be wrong by hours.
  return told ? Date.parse(told) - Date.now() : 0;
})();

/* Ages. The words are those of apps/core/text/wording.py. */
function ageText(seconds) {
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

function durationText(seconds) {
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) {
    const minutes = Math.floor(seconds / 60);
    return seconds % 60 && minutes < 10 ? `${minutes} min ${seconds % 60} s` : `${minutes} min`;
  }
  if (seconds < 86400) {
    const minutes = Math.floor((seconds % 3600) / 60);
    return `${Math.floor(seconds / 3600)} h${minutes ? ` ${minutes} min` : ""}`;
  }
  const days = Math.floor(seconds / 86400);
  const hours = Math.floor((seconds % 86400) / 3600);
  return hours && days < 10 ? `${days} d ${hours} h` : `${days} d`;
}

const SAY = {
  age: (seconds) => (seconds < 2 ? "as of now" : `as of ${ageText(seconds)} ago`),
  ago: (seconds) => (seconds < 2 ? "just now" : `${ageText(seconds)} ago`),
  since: ageText,
  elapsed: durationText,
  left: (seconds) => `${durationText(seconds)} left`,
};

function tick() {
  if (document.hidden) return;
  const now = Date.now() + skew;
  for (const time of document.querySelectorAll("time[data-tick]")) {
    const apart = (now - Date.parse(time.dateTime)) / 1000;
    const seconds = Math.max(0, Math.floor(time.dataset.tick === "left" ? -apart : apart));
    const text = SAY[time.dataset.tick](seconds);
    if (time.textContent !== text) time.textContent = text;
    if (time.dataset.stale) time.classList.toggle("old", seconds > Number(time.dataset.stale));
  }
}
setInterval(tick, 1000);
document.addEventListener("visibilitychange", tick);
document.addEventListener("flotilla:swapped", tick);

/* Menus: one open at a time, closed by Esc, a click elsewhere or by leaving with Tab. */
function closeMenus(except) {
  for (const menu of document.querySelectorAll("details[data-menu][open]")) {
    if (menu !== except) menu.open = false;
  }
}
document.addEventListener("click", (event) => closeMenus(event.target.closest("details[data-menu]")));
document.addEventListener("focusin", (event) => closeMenus(event.target.closest("details[data-menu]")));

/* The rail as a drawer on narrow screens. */
function drawer(open) {
  document.documentElement.classList.toggle("nav-open", open);
  for (const button of document.querySelectorAll("[data-nav-toggle][aria-expanded]")) {
    button.setAttribute("aria-expanded", String(open));
  }
  if (open) document.querySelector("#rail a, #rail summary")?.focus();
}
document.addEventListener("click", (event) => {
  if (event.target.closest("[data-nav-toggle]")) drawer(!document.documentElement.classList.contains("nav-open"));
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = document.activeElement?.closest("details[data-menu][open]");
  closeMenus();
  menu?.querySelector("summary").focus();
  if (document.documentElement.classList.contains("nav-open")) {
    drawer(false);
    document.querySelector(".menu-button")?.focus();
  }
});

/* A form that is sent twice, by a second press or by a reload whose answer was lost, acts once: the server knows it by
   this name (apps/core/pages/once.py). */
const names = new WeakMap();
document.addEventListener("formdata", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  if (!names.has(form)) {
    const random = crypto.getRandomValues(new Uint32Array(4));
    names.set(form, Array.from(random, (part) => part.toString(36)).join("-"));
  }
  event.formData.set("_form", names.get(form));
});

/* Dialogs. */
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-open-dialog]");
  if (opener) document.getElementById(opener.dataset.openDialog)?.showModal();
  if (event.target.closest("[data-back]")) history.back();
});

// Resolves to whether the person said yes. `about` holds title, text, yes and an optional word to type.
function confirmed(about, text) {
  const dialog = document.getElementById("confirm-dialog");
  const typed = dialog.querySelector("[data-confirm-typed]");
  const input = typed.querySelector("input");
  const yes = dialog.querySelector("[data-confirm-yes]");
  // What can be taken back is not red.
  const mild = about.confirmMild !== undefined;
  dialog.querySelector("h2").textContent = about.confirmTitle || "Are you sure?";
  dialog.querySelector("[data-confirm-text]").textContent = text || "";
  dialog.querySelector("[data-confirm-word]").textContent = about.confirmWord || "";
  yes.textContent = about.confirmYes || "Go on";
  yes.classList.toggle("danger", !mild);
  dialog.querySelector("[data-confirm-no]").textContent = mild ? "Cancel" : "Keep it";
  typed.hidden = !about.confirmWord;
  input.value = "";
  const check = () => { yes.disabled = Boolean(about.confirmWord) && input.value.trim() !== about.confirmWord; };
  check();
  input.oninput = check;
  dialog.returnValue = "no";
  dialog.showModal();
  if (about.confirmWord) input.focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

// Enter in the box presses the first button of a form, which is "keep it": let it press the other one.
document.getElementById("confirm-word")?.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  document.querySelector("[data-confirm-yes]:not(:disabled)")?.click();
});

const agreed = new WeakSet();
document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (form.method === "dialog") return;
  const asks = form.dataset.confirm !== undefined || event.submitter?.dataset.confirm !== undefined;
  if (asks && !agreed.has(form)) {
    event.preventDefault();
    event.stopImmediatePropagation();
    const from = event.submitter?.dataset.confirm !== undefined ? event.submitter.dataset : form.dataset;
    const submitter = event.submitter;
    const said = await confirmed(from, from.confirm);
    if (!said) return;
    agreed.add(form);
    form.requestSubmit(submitter);
    return;
  }
  agreed.delete(form);
  if (form.method === "post" && !form.hasAttribute("hx-post") && !event.defaultPrevented) form.classList.add("busy");
}, true);
// A page that comes back out of the browser's cache must not stay busy.
window.addEventListener("pageshow", () => document.querySelectorAll("form.busy").forEach((form) => form.classList.remove("busy")));
document.addEventListener("htmx:confirm", async (event) => {
  if (!event.detail.question) return;
  event.preventDefault();
  const said = await confirmed(event.detail.elt.dataset, event.detail.question);
  if (said) event.detail.issueRequest(true);
});

/* Toasts: good news goes by itself, bad news stays until dismissed. */
const LOOKS = { error: ["bad", "triangle-alert"], warning: ["warn", "triangle-alert"], success: ["ok", "circle-check"], info: ["go", "clock"] };

function toast(level, text) {
  const [tone, icon] = LOOKS[level] || LOOKS.info;
  const box = document.createElement("div");
  box.className = `toast ${tone}`;
  box.dataset.toast = level;
  if (level === "error") box.setAttribute("role", "alert");
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#s-${icon}`);
  svg.append(use);
  const words = document.createElement("p");
  words.textContent = text;
  const close = document.createElement("button");
  close.className = "btn quiet small";
  close.type = "button";
  close.dataset.dismiss = "";
  close.textContent = "Dismiss";
  box.append(svg, words, close);
  document.getElementById("toasts")?.append(box);
}

function leaveLater(box) {
  if (["success", "info"].includes(box.dataset.toast)) setTimeout(() => box.remove(), 6000);
}
const toasts = document.getElementById("toasts");
if (toasts) {
  toasts.querySelectorAll("[data-toast]").forEach(leaveLater);
  new MutationObserver((changes) => {
    for (const change of changes) for (const node of change.addedNodes) if (node.dataset?.toast) leaveLater(node);
  }).observe(toasts, { childList: true });
}
document.addEventListener("click", (event) => event.target.closest("[data-dismiss]")?.closest("[data-toast]")?.remove());
document.addEventListener("flotilla:toast", (event) => toast(event.detail.level, event.detail.text));
/* A panel that asks for itself is silent: it asks again, and the mark at the top tells that the server is away. */
function asksForItself({ target, detail }) {
  if (target.matches("[data-live]")) return true;
  const config = detail.requestConfig;
  return config?.verb === "get" && !config.triggeringEvent?.isTrusted && !!target.closest("[data-live]");
}
/* Nobody pressed anything for a preview, and whether the form may be sent is not its to say: no toast. */
function previewFailed(event) {
  const preview = event.target.closest("[data-preview]");
  if (preview) preview.textContent = "It can’t be told for the form as it is filled in now.";
  return preview !== null;
}
const TOLD = { 403: "Your role does not allow this.", 413: "That is more than it takes: send less." };
document.addEventListener("htmx:sendError", (event) => {
  if (!asksForItself(event) && !previewFailed(event)) toast("error", "The server did not answer. Nothing was changed; try again.");
});
document.addEventListener("htmx:responseError", (event) => {
  const { status } = event.detail.xhr;
  if (!asksForItself(event) && !previewFailed(event)) toast("error", `The server answered ${status}. ${TOLD[status] || "Reload the page and try again."}`);
});

/* Copying. */
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = button.dataset.copy ? document.getElementById(button.dataset.copy) : button.closest(".code")?.querySelector("code");
  const text = source?.textContent ?? "";
  try {
    await navigator.clipboard.writeText(text);
    button.classList.add("copied");
    button.setAttribute("aria-label", "Copied");
    setTimeout(() => { button.classList.remove("copied"); button.setAttribute("aria-label", "Copy"); }, 1500);
  } catch {
    // Without a secure context there is no clipboard: mark the text, so that Ctrl-C takes it.
    getSelection().selectAllChildren(source);
    toast("info", "The browser does not let pages copy here. The text is marked: press Ctrl-C.");
  }
});

/* What scrolls sideways must be reachable by keyboard, but only while it does scroll. */
function reachable() {
  for (const box of document.querySelectorAll(".scroll")) {
    const scrolls = box.scrollWidth > box.clientWidth + 1;
    if (scrolls && !box.hasAttribute("tabindex")) {
      box.tabIndex = 0;
      box.setAttribute("role", "region");
      box.setAttribute("aria-label", box.closest(".card")?.querySelector("h2")?.textContent || "Table");
    } else if (!scrolls && box.hasAttribute("tabindex")) {
      for (const name of ["tabindex", "role", "aria-label"]) box.removeAttribute(name);
    }
  }
}
addEventListener("resize", reachable);
document.addEventListener("flotilla:swapped", reachable);
document.fonts?.ready.then(reachable);
reachable();
