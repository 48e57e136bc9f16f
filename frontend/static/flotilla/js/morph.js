// Brings a fetched fragment into the page by changing only what differs. Scroll, focus, open details, typed text
// and charts stay as they are, because their nodes do. By hand, because no Python package carries idiomorph; htmx 4
// has such a swap of its own.

const calm = matchMedia("(prefers-reduced-motion: reduce)");

function keyOf(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.id || null : null;
}

function alike(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);
}

// What the person does to an element is theirs: an update never closes, checks, overwrites or releases it.
function theirs(element, name) {
  if (name === "open") return element.matches("details, dialog");
  if (name === "value" || name === "checked" || name === "selected") return element.matches("input, option, textarea");
  // htmx holds a button while what was asked by it, or for it, is under way, and lets it go by itself.
  if (name === "disabled" || name === "data-disabled-by-htmx") return element.hasAttribute("data-disabled-by-htmx");
  // ui.js makes boxes that scroll reachable by keyboard.
  return element.matches(".scroll") && ["tabindex", "role", "aria-label"].includes(name);
}

function attributes(from, to) {
  for (const { name, value } of to.attributes) {
    if (!theirs(from, name) && from.getAttribute(name) !== value) from.setAttribute(name, value);
  }
  for (const { name } of [...from.attributes]) {
    if (!to.hasAttribute(name) && !theirs(from, name)) from.removeAttribute(name);
  }
}

function values(from, to) {
  if (!from.matches("input, textarea, select")) return;
  const untouched = from.matches("select") || from.value === from.defaultValue;
  if (from !== document.activeElement && untouched && !from.matches('[type="checkbox"], [type="radio"], select')) {
    from.value = to.value;
  }
}

function flash(element) {
  if (calm.matches || !element.animate) return;
  const soft = getComputedStyle(document.documentElement).getPropertyValue("--flash") || "rgb(80 120 240 / .16)";
  element.animate([{ backgroundColor: soft }, { backgroundColor: "transparent" }], { duration: 1400, easing: "ease-out" });
}

function children(from, to) {
  const keyed = new Map();
  for (const child of from.childNodes) if (keyOf(child)) keyed.set(keyOf(child), child);
  let here = from.firstChild;
  for (const wanted of [...to.childNodes]) {
    const key = keyOf(wanted);
    const match = key ? keyed.get(key) : here && !keyOf(here) && alike(here, wanted) ? here : null;
    if (match && alike(match, wanted)) {
      if (match === here) here = here.nextSibling;
      else from.insertBefore(match, here);
      morph(match, wanted);
    } else {
      const fresh = document.importNode(wanted, true);
      from.insertBefore(fresh, here);
      if (key && fresh.nodeName === "TR") flash(fresh);
    }
  }
  while (here) {
    const gone = here;
    here = here.nextSibling;
    gone.remove();
  }
}

function morph(from, to) {
  if (from.nodeType !== Node.ELEMENT_NODE) {
    if (from.data !== to.data) from.data = to.data;
    return;
  }
  if (from.isEqualNode(to) || from.hasAttribute("data-keep")) return;
  if (from.hasAttribute("data-chart")) {
    from.setAttribute("aria-label", to.getAttribute("aria-label") ?? "");
    return;
  }
  const before = from.matches(".status") ? from.className : null;
  attributes(from, to);
  values(from, to);
  children(from, to);
  if (before !== null && before !== from.className) flash(from);
}

document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr, target } = event.detail;
  const live = event.detail.requestConfig?.elt;
  if (!event.detail.shouldSwap || !live?.hasAttribute("data-live") || target !== live) return;
  const parsed = new DOMParser().parseFromString(`<body><template>${xhr.responseText}</template></body>`, "text/html");
  const fragment = parsed.querySelector("template").content;
  const fresh = [...fragment.children].find((element) => element.id === live.id);
  // A fragment of another shape (an error page, the sign-in page) is not ours to bring in.
  event.detail.shouldSwap = false;
  if (!fresh) return;
  morph(live, fresh);
  // What else on the page says the same, with `data-beside`, comes with it.
  for (const beside of [...fragment.children].filter((element) => element.hasAttribute("data-beside"))) {
    document.getElementById(beside.id)?.replaceChildren(...document.importNode(beside, true).childNodes);
  }
  window.htmx.process(live);
  live.dispatchEvent(new CustomEvent("flotilla:swapped", { bubbles: true }));
});
