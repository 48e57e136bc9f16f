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

function all() {
  document.querySelectorAll("input[data-fade]").forEach(fade);
}

document.addEventListener("input", (event) => {
  if (event.target.matches("input[data-fade]")) fade(event.target);
});
// An update brings squares in as the server made them: fade them again before they are painted.
document.addEventListener("flotilla:swapped", all);
all();
