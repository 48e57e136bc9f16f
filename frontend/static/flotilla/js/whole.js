// What is cut says itself whole: in its title as soon as somebody points at it, and in a tip to who comes to it by
// keyboard or touches it, for browsers show no title then.

const FAR = 4; // so many elements around what is pointed at are looked at
const MOST = 4; // so many cut texts does a tip hold
const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
// Who hears the page has heard the whole text already: only its look is cut.
tip.setAttribute("aria-hidden", "true");
document.body.append(tip);

function isCut(element) {
  const style = getComputedStyle(element);
  if (style.textOverflow === "ellipsis") return element.scrollWidth > element.clientWidth + 1;
  return style.webkitLineClamp !== "none" && element.scrollHeight > element.clientHeight + 1;
}

function around(element) {
  const near = [];
  for (let up = 0; element instanceof HTMLElement && up < FAR; element = element.parentElement, up += 1) near.push(element);
  return near;
}

// The texts that are cut in what was reached: in the whole row, for only its link can be reached by keyboard.
function cutTexts(reached) {
  const row = reached.closest("tr, li, .why") || reached;
  const inside = row === document.body ? [] : [...row.querySelectorAll("*")].filter((each) => each instanceof HTMLElement);
  const cut = [...around(reached), ...inside].filter((each) => isCut(each));
  const texts = new Set(cut.map((each) => each.title || each.innerText.trim()).filter(Boolean));
  return [...texts].slice(0, MOST);
}

function show(reached) {
  const texts = cutTexts(reached);
  tip.hidden = !texts.length;
  if (tip.hidden) return;
  tip.replaceChildren(...texts.map((text) => Object.assign(document.createElement("div"), { textContent: text })));
  place(reached);
}

function place(reached) {
  const at = reached.getBoundingClientRect(), size = tip.getBoundingClientRect();
  const below = at.bottom + 6 + size.height <= innerHeight;
  tip.style.left = `${Math.max(8, Math.min(at.left, innerWidth - size.width - 8))}px`;
  tip.style.top = `${below ? at.bottom + 6 : Math.max(8, at.top - size.height - 6)}px`;
}

function hide() {
  tip.hidden = true;
}

document.addEventListener("pointerover", (event) => {
  if (event.pointerType === "touch") return;
  const near = around(event.target);
  const cut = near.find((each) => each.title || isCut(each));
  if (cut && !cut.title) cut.title = cut.innerText.trim();
});
document.addEventListener("focusin", (event) => {
  if (event.target instanceof HTMLElement && event.target.matches("a, button, summary, [tabindex]") && event.target.matches(":focus-visible")) show(event.target);
  else hide();
});
document.addEventListener("focusout", hide);
document.addEventListener("click", (event) => {
  const target = event.target instanceof HTMLElement ? event.target : null;
  // A link leads to a page that says it whole.
  if (event.pointerType === "touch" && target && !target.closest("a, button, summary, label, input, select, textarea")) show(target);
  else hide();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") hide();
});
// What is reached by keyboard is scrolled into view; what a finger scrolls goes away from under its tip.
function follow() {
  if (!tip.hidden && document.activeElement?.matches(":focus-visible")) place(document.activeElement);
  else hide();
}
addEventListener("scroll", follow, { capture: true, passive: true });
addEventListener("resize", hide);
document.addEventListener("flotilla:swapped", hide);
