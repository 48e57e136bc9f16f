// The API's page: the person's theme, and what Swagger UI lacks for who can't see it. A classic script, because the
// settings of Swagger UI (SWAGGER_UI_SETTINGS) name FlotillaDocs.

(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dress = () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
    root.classList.toggle("dark-mode", dark);
  };
  system.addEventListener("change", dress);
  dress();

  // What scrolls is reached by keyboard, and regions are told apart. React keeps attributes that it did not set.
  const page = document.getElementById("swagger-ui");
  new MutationObserver(() => {
    for (const example of page.querySelectorAll("pre.microlight:not([tabindex])")) example.tabIndex = 0;
    for (const table of page.querySelectorAll("table[role=region]:not([aria-label])")) {
      table.setAttribute("aria-label", table.id.replaceAll("_", " "));
    }
    for (const button of page.querySelectorAll(".close-modal:not([aria-label])")) button.setAttribute("aria-label", "Close");
  }).observe(page, { childList: true, subtree: true });
})();

function FlotillaDocs() {
  return {
    wrapComponents: {
      // A link within a button is neither: the button opens the operation, and its address follows.
      DeepLink: (_, { React }) => ({ text }) => React.createElement("span", null, text),
      InfoContainer: (Info, { React }) => (props) =>
        React.createElement("section", { "aria-label": "About the API" }, React.createElement(Info, props)),
      authorizationPopup: (Popup, { React }) => (props) =>
        React.createElement(
          "div",
          { role: "dialog", "aria-modal": "true", "aria-label": "Authorize" },
          React.createElement("h2", { className: "docs-unseen" }, "Authorize"),
          React.createElement(Popup, props),
        ),
      // Tags are headings of the third level, without one of the second.
      operations: (Operations, { React }) => (props) =>
        React.createElement(
          React.Fragment,
          null,
          React.createElement("h2", { className: "docs-unseen" }, "Operations"),
          React.createElement(Operations, props),
        ),
    },
  };
}
