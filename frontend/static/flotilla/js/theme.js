// Light, dark or as the system. The choice is a cookie, so that the server renders it and nothing flashes.

const YEAR = 365 * 24 * 3600;
const root = document.documentElement;

function chosen() {
  return root.dataset.theme || "auto";
}

function show() {
  for (const button of document.querySelectorAll("[data-theme-set]")) {
    button.setAttribute("aria-pressed", String(button.dataset.themeSet === chosen()));
  }
}

function announce() {
  document.dispatchEvent(new CustomEvent("flotilla:theme"));
}

function choose(theme) {
  if (theme === "auto") delete root.dataset.theme;
  else root.dataset.theme = theme;
  const secure = location.protocol === "https:" ? "; Secure" : "";
  const age = theme === "auto" ? 0 : YEAR;
  document.cookie = `theme=${theme}; Path=/; Max-Age=${age}; SameSite=Lax${secure}`;
  show();
  announce();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-theme-set]");
  if (button) choose(button.dataset.themeSet);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", announce);
show();
