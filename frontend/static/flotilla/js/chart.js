// Draws every [data-chart] with Plotly in the colours of the page. Plotly (1.1 MB compressed) comes only where there is
// one, after the page was painted for the first time.
// A figure that comes again is drawn in place: zoom and hidden curves stay.

// Plotly's map library also writes a <style> when it loads, unless there is an element with this id. We draw no maps.
const MAP_STYLE_ID = "9f215cf04c5486422605d13261cb87401f4e7763b6296af81e98efbc0130da53";

const module = document.getElementById("chart-module");
let plotly = null;
const drawn = new WeakMap(); // element → the JSON that it shows

// A frame is painted after its callbacks: a timer that one of them sets comes after the paint. Who is too busy to paint
// does not wait for ever.
const painted = new Promise((resolve) => {
  requestAnimationFrame(() => setTimeout(resolve));
  setTimeout(resolve, 1000);
});

function load() {
  plotly ??= painted.then(() => new Promise((resolve, reject) => {
    // Plotly writes a <style> into the page, which the content security policy refuses. A stylesheet of its rules
    // with this id and class tells it that they are there already.
    const css = document.createElement("link");
    css.rel = "stylesheet";
    css.id = "plotly.js-style-global";
    css.className = "no-inline-styles";
    css.href = module.dataset.css;
    const noMaps = document.createElement("meta");
    noMaps.id = MAP_STYLE_ID;
    const script = document.createElement("script");
    script.src = module.dataset.plotly;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => reject(new Error("Plotly could not be loaded"));
    document.head.append(css, noMaps, script);
  }));
  return plotly;
}

// Custom properties hold light-dark(…) unresolved; a computed colour does not.
function tokens() {
  const probe = document.createElement("i");
  probe.hidden = true;
  document.body.append(probe);
  const read = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const names = ["text", "muted", "faint", "line", "line-strong", "surface", "raised", "accent", "accent-soft", "bad", "ok", "warn"];
  const found = Object.fromEntries(names.map((name) => [name, read(name)]));
  found.series = Array.from({ length: 8 }, (_, i) => read(`series-${i + 1}`));
  probe.remove();
  found.font = getComputedStyle(document.body).fontFamily;
  return found;
}

function merge(base, over) {
  const out = { ...base };
  for (const [key, value] of Object.entries(over ?? {})) {
    const plain = value && typeof value === "object" && !Array.isArray(value);
    out[key] = plain ? merge(out[key], value) : value;
  }
  return out;
}

// A legend or an axis holds so many letters; the table below says a name whole.
const NAME = 36;
const cut = (text) => (text?.length > NAME ? `${text.slice(0, NAME - 1)}…` : text);

// A role is a word of the theme, or a colour of its own: a run has the same everywhere.
function roleColour(role, theme) {
  if (role?.startsWith("#")) return role;
  const series = /^series-(\d+)$/.exec(role ?? "");
  if (series) return theme.series[(Number(series[1]) - 1) % theme.series.length];
  return { muted: theme.faint, limit: theme.bad, ok: theme.ok, warn: theme.warn, bad: theme.bad, accent: theme.accent }[role];
}

function themedTrace(trace, index, theme) {
  if (trace.type === "heatmap") {
    return merge({ colorscale: [[0, theme.surface], [1, theme.accent]], xgap: 1, ygap: 1, showscale: false }, trace);
  }
  const colour = roleColour(trace.meta?.role, theme) ?? theme.series[index % theme.series.length];
  return { ...merge({ line: { color: colour, shape: "linear" }, marker: { color: colour } }, trace), name: cut(trace.name) };
}

function themedLayout(layout, theme) {
  const axis = {
    gridcolor: theme.line, linecolor: theme["line-strong"], zerolinecolor: theme.line, tickcolor: theme.line,
    tickfont: { color: theme.faint, size: 11 }, title: { font: { color: theme.muted, size: 12 }, standoff: 8 },
  };
  const themed = merge({
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", colorway: theme.series,
    font: { family: theme.font, size: 12, color: theme.muted },
    hoverlabel: { bgcolor: theme.raised, bordercolor: theme["line-strong"], font: { family: theme.font, size: 12, color: theme.text } },
    legend: { font: { color: theme.muted, size: 12 }, bgcolor: "rgba(0,0,0,0)" },
    autosize: true, dragmode: "zoom",
  }, layout);
  delete themed.template;
  for (const key of Object.keys(themed).filter((name) => /^[xy]axis\d*$/.test(name))) {
    themed[key] = merge(axis, themed[key]);
    if (themed[key].title?.text) themed[key].title.text = cut(themed[key].title.text);
  }
  themed.xaxis ??= axis;
  themed.yaxis ??= axis;
  themed.shapes = (themed.shapes ?? []).map((shape) => merge({ line: { color: theme.bad } }, shape));
  themed.annotations = (themed.annotations ?? []).map((note) => merge({ font: { color: theme.muted, size: 11 } }, note));
  return themed;
}

// Where there is little width, a long legend above the curves would leave them no height: it stands below them.
const NARROW = 520;
const FEW = 3;

function fitted(layout, element, traces) {
  const below = element.clientWidth < NARROW && traces.length > FEW && layout.showlegend !== false;
  element.classList.toggle("legend-below", below);
  return below ? merge(layout, { legend: { orientation: "v", x: 0, y: -0.28, yanchor: "top" } }) : layout;
}

async function draw(element, force = false) {
  const json = document.getElementById(element.dataset.chart)?.textContent;
  if (!json || (!force && drawn.get(element) === json)) return;
  drawn.set(element, json);
  try {
    const Plotly = await load();
    const figure = JSON.parse(json);
    const theme = tokens();
    if (!element.classList.contains("drawn")) {
      element.textContent = "";
      element.classList.add("drawn");
    }
    const traces = figure.data.map((trace, i) => themedTrace(trace, i, theme));
    const layout = fitted(themedLayout(figure.layout ?? {}, theme), element, traces);
    await Plotly.react(element, traces, layout, { displayModeBar: false, responsive: true, doubleClick: "reset" });
  } catch (error) {
    drawn.delete(element);
    element.classList.remove("drawn");
    element.textContent = "The chart can't be drawn; its table is below.";
    console.error(error);
  }
}

function drawAll(force = false) {
  for (const element of document.querySelectorAll("[data-chart]")) draw(element, force === true);
}

document.addEventListener("flotilla:swapped", () => drawAll());
document.addEventListener("htmx:afterSettle", () => drawAll());
document.addEventListener("flotilla:theme", () => drawAll(true));
drawAll();
