// The keyboard: "/" searches, "g" then a letter goes, arrows walk through lists, "p" pauses, "?" lists all this.

const GO_WITHIN = 1200;
let goUntil = 0;

function typing(target) {
  return target.closest?.('input:not([type="checkbox"]), textarea, select, [contenteditable]') !== null && target !== document.body;
}

/* Lists: the first link of each row is what the arrows move through. */
function rowLinks(table) {
  return [...table.querySelectorAll("tbody tr")].map((row) => row.querySelector("a[href], button") ?? row.querySelector("input")).filter(Boolean);
}

function walk(step) {
  const here = document.activeElement;
  const list = here?.closest("[data-rows]") || document.querySelector("main [data-rows]");
  if (!list) return false;
  const links = rowLinks(list);
  if (!links.length) return false;
  const row = here?.closest("tr");
  const at = links.findIndex((link) => link.closest("tr") === row);
  const next = links[at === -1 ? (step > 0 ? 0 : links.length - 1) : Math.min(links.length - 1, Math.max(0, at + step))];
  next.focus();
  next.scrollIntoView({ block: "nearest" });
  return true;
}

/* Search: arrows go from the box into what was found and back. */
const box = document.getElementById("q");
const results = document.getElementById("search-results");

function walkHits(step) {
  const links = [...results.querySelectorAll("a")];
  const at = links.indexOf(document.activeElement);
  if (at + step < 0) box.focus();
  else links[Math.min(links.length - 1, at + step)]?.focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const inSearch = box && (event.target === box || results.contains(event.target));
  if (inSearch) {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      walkHits(event.key === "ArrowDown" ? 1 : -1);
    } else if (event.key === "Escape") {
      results.replaceChildren();
      box.value = "";
      box.blur();
    } else if (event.target !== box && event.key.length === 1) {
      box.focus();
    }
    return;
  }
  if (typing(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (document.querySelector("dialog[open]")) return;
  if (performance.now() < goUntil) {
    goUntil = 0;
    const link = document.querySelector(`[data-shortcut="${CSS.escape(event.key)}"]`);
    if (link) {
      event.preventDefault();
      link.click();
    }
    return;
  }
  const act = {
    "/": () => box?.focus() ?? box?.select(),
    "?": () => document.getElementById("keys-dialog")?.showModal(),
    g: () => { goUntil = performance.now() + GO_WITHIN; },
    p: () => document.querySelector("[data-live-switch]")?.click(),
    j: () => walk(1),
    k: () => walk(-1),
    ArrowDown: () => walk(1),
    ArrowUp: () => walk(-1),
  }[event.key];
  if (!act) return;
  if (act() === false) return;
  event.preventDefault();
});

document.addEventListener("click", (event) => {
  if (results && !event.target.closest(".search")) results.replaceChildren();
});
