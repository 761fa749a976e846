"use strict";
// What all charts share: the data, colours of the theme, one tooltip, which trials are marked, and when charts are drawn.
const data = JSON.parse(document.getElementById("data").textContent);
const trials = data.trials;
const byNumber = new Map(trials.map((trial, index) => [trial.number, index]));
const best = data.best === null ? -1 : byNumber.get(data.best);
const higher = data.mode === "max";
const RAMP = 5;
const chosen = { marked: -1, brushed: null, filtered: null };  // a trial's index; sets of indices, or null for all

const words = (name) => data.words[name] || name.replace(/_/g, " ");
// Plotly reads some HTML in texts: none of ours is.
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const brief = (text, most) => plain(String(text).length > most ? `${String(text).slice(0, most - 1)}…` : text);
const isShown = (index) =>
  (!chosen.brushed || chosen.brushed.has(index)) && (!chosen.filtered || chosen.filtered.has(index));

function shown(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  return size >= 1000 ? value.toFixed(0) : size >= 0.001 ? String(+value.toPrecision(3)) : value.toExponential(2);
}

// Trials by their score in five steps, the last the best; of many trials the better ones make small steps of their own.
const ENDS = trials.length > 40 ? [0.4, 0.7, 0.85, 0.95, 1] : [0.2, 0.4, 0.6, 0.8, 1];
const steps = (() => {
  const scored = trials.map((_, index) => index).filter((index) => trials[index].best !== null);
  scored.sort((a, b) => (trials[a].best - trials[b].best) * (higher ? 1 : -1));
  const found = trials.map(() => 0);
  scored.forEach((index, place) => { found[index] = ENDS.findIndex((end) => place < end * scored.length); });
  return found;
})();

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const rampColour = (step) => colour(`ramp${step}`);
// Colours that are made for paper, a little lighter on a dark ground.
const onGround = (hex) => {
  if (colour("paper") !== "#14171b") return hex;
  const parts = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  return `#${parts.map((of) => Math.round(of + (255 - of) * 0.28).toString(16).padStart(2, "0")).join("")}`;
};
const isNarrow = () => window.innerWidth < 600;
const isTouched = window.matchMedia("(pointer: coarse)").matches;

function axis(title, more) {
  return Object.assign({
    title: { text: brief(title, 48), standoff: 8 }, automargin: true, zeroline: false, gridcolor: colour("grid"),
    linecolor: colour("line"), tickcolor: colour("line"), ticks: "",
  }, more);
}

function layout(more) {
  return Object.assign({
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest",
    font: { family: colour("sans"), size: 12, color: colour("soft") }, margin: { l: 48, r: 12, t: 12, b: 44 },
    dragmode: isTouched ? false : "zoom", hoverdistance: 24,
  }, more);
}

const CONFIG = { displayModeBar: false, displaylogo: false, responsive: true, doubleClick: "reset", scrollZoom: false };

// Charts draw themselves when they come into sight, and again when theme, marks or filters change.
const charts = [];
const sight = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const chart = charts.find((of) => of.place === entry.target);
    chart.seen = entry.isIntersecting;
    if (chart.seen && !chart.drawn) draw(chart);
  }
}, { rootMargin: "300px" });

function draw(chart) {
  chart.drawn = true;
  const made = chart.make();
  const done = Plotly.react(chart.place, made.traces, made.layout, CONFIG);
  if (!chart.bound) { chart.bound = true; bind(chart); }
  return done;
}

function add(id, make, about) {
  const place = typeof id === "string" ? document.getElementById(id) : id;
  if (!place) return null;
  const chart = { place, make, about, drawn: false, seen: false, bound: false };
  charts.push(chart);
  sight.observe(place);
  return chart;
}

// Those in sight at once, the others when they come into it.
function renew(which) {
  which.forEach((of) => { of.drawn = false; });
  which.filter((of) => of.seen).forEach(draw);
}
const redraw = () => renew(charts.filter((of) => of.about));
const redrawAll = () => renew(charts);

// ``about(point)``: the trial under the pointer and what to say of it.
function bind(chart) {
  const on = (name, act) => chart.place.on(name, act);
  on("plotly_hover", (event) => {
    const said = (chart.about || chart.says)?.(event.points[0]);
    if (said) tell(event.event, said);
  });
  on("plotly_unhover", () => { tip.hidden = true; });
  if (chart.about) on("plotly_click", (event) => {
    const said = chart.about(event.points[0]);
    if (said) mark(said.trial);
  });
  chart.listen?.(on);
}

const tip = document.getElementById("tip");

function tell(event, said) {
  tip.replaceChildren();
  const title = document.createElement("b");
  title.textContent = said.title;
  tip.append(title);
  for (const line of said.lines || []) tip.append(Object.assign(document.createElement("div"), { textContent: line }));
  if (said.pairs) {
    const list = document.createElement("dl");
    for (const [name, value] of said.pairs) {
      list.append(Object.assign(document.createElement("dt"), { textContent: name }),
        Object.assign(document.createElement("dd"), { textContent: shown(value) }));
    }
    tip.append(list);
  }
  tip.hidden = false;
  const { clientX: x, clientY: y } = event.touches ? event.touches[0] : event;
  const box = tip.getBoundingClientRect();
  const left = x + 16 + box.width > window.innerWidth ? x - 16 - box.width : x + 16;
  tip.style.left = `${Math.max(6, Math.min(left, window.innerWidth - box.width - 6))}px`;
  tip.style.top = `${Math.max(6, Math.min(y + 14, window.innerHeight - box.height - 6))}px`;
}

// Varied hyperparameters alone: what all trials share is told once, above.
const varied = data.axes.filter((of) => !of.fixed);
function sayTrial(index, lines) {
  const trial = trials[index];
  const title = `trial ${trial.number}${index === best ? ", the best" : ""}${trial.state === "finished" ? "" : `, ${trial.state}`}`;
  return { trial: index, title, lines, pairs: varied.slice(0, 14).map((of) => [of.name.replace(/_/g, " "), trial.hyperparameters[of.name]]) };
}

const whenMarked = [];
function mark(index) {
  chosen.marked = chosen.marked === index ? -1 : index;
  tip.hidden = true;
  whenMarked.forEach((act) => act());
  setTimeout(redraw);  // not within Plotly's own handling of the click
}

const whenBrushed = [];
function brush(found) {
  chosen.brushed = found;
  whenBrushed.forEach((act) => act());
  setTimeout(redraw);
}

// Lines of many trials as few traces: trials of one step one after another, with gaps. points(index) -> [xs, ys].
function lineTraces(points, about) {
  const groups = Array.from({ length: RAMP + 1 }, () => ({ x: [], y: [], customdata: [] }));
  const put = (into, index) => {
    const [xs, ys] = points(index);
    for (let at = 0; at < xs.length; at++) { into.x.push(xs[at]); into.y.push(ys[at]); into.customdata.push([index, at]); }
    into.x.push(null); into.y.push(null); into.customdata.push([index, -1]);
  };
  trials.forEach((_, index) => {
    if (index !== best && index !== chosen.marked) put(groups[isShown(index) ? steps[index] + 1 : 0], index);
  });
  const few = trials.length <= 40;
  const traces = groups.map((group, step) => ({
    ...group, type: "scatter", mode: "lines", hoverinfo: step ? "none" : "skip", connectgaps: false,
    line: { color: step ? rampColour(step - 1) : colour("faint"), width: few ? (step ? 1.6 : 1) : 0.8 },
    opacity: step ? (few ? 0.95 : 0.85) : 0.5,
  }));
  for (const [index, name, width] of [[best, "accent", 3], [chosen.marked, "mark", 3]]) {
    if (index < 0 || (name === "accent" && index === chosen.marked)) continue;
    const one = { x: [], y: [], customdata: [] };
    put(one, index);
    const faded = name === "accent" && !isShown(index);
    traces.push({ ...one, type: "scatter", mode: "lines", hoverinfo: "none", line: { color: colour(name), width: faded ? 1 : width },
      opacity: faded ? 0.4 : 1 });
  }
  return traces;
}

window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAll);
window.addEventListener("beforeprint", () => { document.documentElement.classList.add("paper"); charts.forEach(draw); });
window.addEventListener("afterprint", () => { document.documentElement.classList.remove("paper"); redrawAll(); });
window.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
