// The table of runs: which are chosen, what is pinned at its left, and words for its filter.

const BOXES = '#runs input[name="run"]';
const boxes = () => [...document.querySelectorAll(BOXES)];

/* Chosen runs. */
function show() {
  const all = boxes();
  const chosen = all.filter((box) => box.checked);
  const every = document.querySelector("[data-choose-all]");
  if (every) {
    every.checked = all.length > 0 && chosen.length === all.length;
    every.indeterminate = chosen.length > 0 && !every.checked;
  }
  const said = document.querySelector("[data-chosen-said]");
  const text = `${chosen.length} chosen`;
  if (said && said.textContent !== text) said.textContent = text;
  for (const button of document.querySelectorAll("[data-needs]")) {
    const [least, most] = button.dataset.needs.split("-").map(Number);
    button.disabled = chosen.length < least || chosen.length > most;
  }
}

let last = null; // the box that was pressed last: with Shift all between it and the next one become as that is
document.addEventListener("click", (event) => {
  if (event.target.matches?.("[data-choose-all]")) {
    for (const box of boxes()) box.checked = event.target.checked;
  } else if (event.target.matches?.(BOXES)) {
    const all = boxes();
    const [from, to] = [all.indexOf(last), all.indexOf(event.target)].sort((a, b) => a - b);
    if (event.shiftKey && from >= 0) for (const box of all.slice(from, to)) box.checked = event.target.checked;
    if (event.shiftKey && last) last.checked = event.target.checked;
    last = event.target;
  } else if (event.target.closest?.("[data-choose-none]")) {
    for (const box of boxes()) box.checked = false;
  } else return;
  show();
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const box = document.activeElement?.closest("tr")?.querySelector('input[name="run"]');
  if (event.key === "x" && box && !document.activeElement.matches('input:not([type="checkbox"]), select, textarea')) {
    event.preventDefault();
    box.click();
  }
  if (event.key === "Escape" && !document.querySelector("details[data-menu][open]") && !event.target.matches("input[type=search]")) {
    document.querySelector("[data-choose-none]")?.click();
  }
});

// A box belongs to no form: each that acts on what is chosen takes it along.
document.addEventListener("formdata", (event) => {
  if (!event.target.matches("form[data-chosen]")) return;
  for (const box of boxes()) if (box.checked) event.formData.append("run", box.value);
});

/* What is pinned stays at the left while the rest goes by: each beside the one before. */
function pin() {
  for (const table of document.querySelectorAll("table.runs")) {
    let left = 0;
    for (const head of table.querySelectorAll("thead .stuck")) {
      const place = `${left}px`;
      for (const row of table.rows) {
        const cell = row.cells[head.cellIndex];
        if (cell && cell.style.left !== place) cell.style.left = place;
      }
      left += head.offsetWidth;
    }
  }
}

/* The choice of columns: the list shows what has the letters that are typed. */
document.addEventListener("input", (event) => {
  if (!event.target.matches("[data-find-column]")) return;
  const text = event.target.value.trim().toLowerCase();
  for (const pick of event.target.closest(".columns").querySelectorAll(".pick")) {
    pick.hidden = !pick.textContent.toLowerCase().includes(text);
  }
});
document.addEventListener("keydown", (event) => {
  // Enter looks on, and leaves the choice open.
  if (event.key === "Enter" && event.target.matches?.("[data-find-column]")) event.preventDefault();
});

/* Words for the filter: what begins as the last word does. The browser's own list shows whole values, so each is the
   whole filter with that word at its end. */
const MOST = 20;
const ATTRIBUTES = ["run_name", "status", "start_time", "end_time", "user_id", "run_id"].map((name) => `attributes.${name}`);

function words() {
  const columns = [...document.querySelectorAll('.columns input[name="col"]')].map((box) => box.value);
  return [...columns.map((name) => {
    const [kind, ...key] = name.split(".");
    return /^[\w./-]+$/.test(key.join(".")) ? name : `${kind}.\`${key.join(".")}\``;
  }), ...ATTRIBUTES];
}

document.addEventListener("input", (event) => {
  const list = event.target.list;
  if (list?.id !== "runs-words") return;
  const [, before, word] = /^(.*?)([\w.`/-]*)$/s.exec(event.target.value);
  const inQuotes = (before.match(/'/g)?.length ?? 0) % 2 === 1;
  const fit = word && !inQuotes ? words().filter((each) => each.startsWith(word) && each !== word) : [];
  list.replaceChildren(...fit.slice(0, MOST).map((each) => new Option(each, `${before}${each} `)));
});

function all() {
  show();
  pin();
}
document.addEventListener("flotilla:swapped", all);
addEventListener("resize", pin);
document.fonts?.ready.then(pin);
all();
