// Squares that fade while one types: those whose words lack what is typed step back, and how many match is said.
// `data-fade` of the input names the list; Enter sends the form, and the server looks through what is not loaded.

function fade(input) {
  const list = document.getElementById(input.dataset.fade);
  if (!list) return;
  const text = input.value.trim().toLowerCase();
  // What the server has filtered by matches already, maybe by more than the words that are shown.
  const parts = text === input.dataset.applied.trim().toLowerCase() ? [] : text.split(/\s+/).filter(Boolean);
  let count = 0;
  for (const item of list.children) {
    const matches = parts.every((part) => item.dataset.words.includes(part));
    item.classList.toggle("faded", !matches);
    count += matches;
  }
  const said = input.form.querySelector("[data-fade-said]");
  const words = parts.length ? `${count} of ${list.children.length} shown match${count === 1 ? "es" : ""}` : "";
  if (said.textContent !== words) said.textContent = words;
}

/* Hundreds of squares are one stop for Tab; left, right, Home and End move among those that match. */
function stops(list) {
  return [...list.querySelectorAll("li:not(.faded) > a")];
}

function rove(list, to = null) {
  const links = [...list.querySelectorAll("a")];
  const one = to ?? (links.includes(document.activeElement) ? document.activeElement : stops(list)[0] ?? links[0]);
  for (const link of links) link.tabIndex = link === one ? 0 : -1;
}

document.addEventListener("keydown", (event) => {
  const list = event.target.closest?.("[data-rove]");
  if (!list || event.ctrlKey || event.metaKey || event.altKey) return;
  const links = stops(list);
  const at = links.indexOf(event.target);
  const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: links.length - 1 }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  if (!links[next]) return;
  rove(list, links[next]);
  links[next].focus();
});

function all() {
  document.querySelectorAll("input[data-fade]").forEach(fade);
  document.querySelectorAll("[data-rove]").forEach((list) => rove(list));
}

document.addEventListener("input", (event) => {
  if (event.target.matches("input[data-fade]")) all();
});
// An update brings squares in as the server made them: fade them again before they are painted.
document.addEventListener("flotilla:swapped", all);
all();
