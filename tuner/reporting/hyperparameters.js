// Parallel coordinates, importances and slices.
const value = (index, of) => trials[index].hyperparameters[of.name];
const label = (of) => of.name.replace(/_/g, " ");
// Where a value stands on an axis of length 1; NaN where the trial has none.
function place(of, found) {
  if (found === undefined || found === null) return NaN;
  if (of.kind === "words") {
    const at = of.categories.indexOf(found);
    return at < 0 ? NaN : of.categories.length > 1 ? at / (of.categories.length - 1) : 0.5;
  }
  const [low, high, x] = of.kind === "log" ? [of.low, of.high, found].map(Math.log) : [of.low, of.high, found];
  return high > low ? (x - low) / (high - low) : 0.5;
}
// Trials of one category side by side rather than one on another.
const stepsOf = (of) => of.kind === "words" ? of.categories.length : of.whole ? of.high - of.low + 1 : Infinity;
const isStepped = (of) => of.kind !== "log" && stepsOf(of) <= 16;
const nudge = (index) => ((index * 0.6180339887) % 1) - 0.5;

function ticks(of) {
  if (of.kind === "words") return of.categories.map((word) => [place(of, word), shown(word)]);
  const found = [];
  if (of.kind === "log") {
    for (let power = Math.floor(Math.log10(of.low)); power <= Math.ceil(Math.log10(of.high)); power++) {
      for (const digit of of.high / of.low > 150 ? [1] : [1, 2, 5]) found.push(digit * 10 ** power);
    }
  } else {
    const rough = (of.high - of.low || 1) / 5;
    const unit = 10 ** Math.floor(Math.log10(rough));
    let step = [1, 2, 5, 10].map((digit) => digit * unit).find((size) => size >= rough);
    if (of.whole) step = Math.max(1, Math.round(step));
    for (let at = Math.ceil(of.low / step) * step; at <= of.high + step * 1e-6; at += step) found.push(+at.toPrecision(6));
  }
  return found.filter((x) => x >= of.low * (1 - 1e-9) && x <= of.high + Math.abs(of.high) * 1e-9).map((x) => [place(of, x), tickText(x)]);
}
const tickText = (x) => x !== 0 && Math.abs(x) < 0.01 ? x.toExponential(0).replace("e", "e") : String(+x.toPrecision(4));

function broken(text, most) {
  const lines = [""];
  for (const word of text.split(" ")) {
    if (lines.at(-1) && (lines.at(-1) + word).length > most) lines.push("");
    lines[lines.length - 1] += (lines.at(-1) ? " " : "") + word;
  }
  return lines.map((line) => plain(line.length > most + 6 ? `${line.slice(0, most + 5)}…` : line)).join("<br>");
}

{
  const scores = trials.map((of) => of.best).filter((of) => of !== null);
  const score = { name: data.key, kind: "linear", low: Math.min(...scores), high: Math.max(...scores) };
  const all = [score, ...varied];
  const found = (index, of) => of === score ? trials[index].best : value(index, of);
  const at = (index, of) => {
    const y = place(of, found(index, of) ?? undefined);
    return isStepped(of) ? y + nudge(index) * Math.min(0.05, 0.3 / stepsOf(of)) : y;
  };
  const points = (index) => {
    const kept = all.map((of, x) => [x, at(index, of)]).filter((of) => !Number.isNaN(of[1]));
    return [kept.map((of) => of[0]), kept.map((of) => of[1])];
  };
  const box = document.getElementById("parallel-chart");
  if (box && scores.length) {
    box.style.minWidth = `${Math.max(300, all.length * 92)}px`;
    const longest = Math.max(...ticks(all.at(-1)).map((tick) => tick[1].length), 4);
    const make = () => ({
      traces: lineTraces(points),
      layout: layout({
        dragmode: isTouched ? false : "select", selectdirection: "any", margin: { l: 52, r: 18 + 6.5 * Math.min(14, longest), t: 62, b: 18 },
        newselection: { line: { color: colour("ink"), width: 1 } },
        xaxis: { visible: false, fixedrange: true, range: [-0.15, all.length - 0.85] },
        yaxis: { visible: false, fixedrange: true, range: [-0.06, 1.06] },
        shapes: all.map((_, x) => ({ type: "line", x0: x, x1: x, y0: -0.03, y1: 1.03, line: { color: colour("soft"), width: 1 }, layer: "above" })),
        annotations: all.flatMap((of, x) => [
          { x, y: 1.01, yref: "paper", yanchor: "bottom", showarrow: false, text: broken(of === score ? data.metric : label(of), 12),
            font: { size: 12, color: of === score ? colour("accent") : colour("ink") } },
          ...ticks(of).map(([y, text]) => ({ x, y, xanchor: "left", xshift: 4, showarrow: false, text: brief(text, 14),
            font: { size: 11, color: colour("ink") }, bgcolor: `${colour("paper")}cc`, borderpad: 1 })),
        ]),
      }),
    });
    const chart = add(box, make, (point) => {
      if (!point.customdata) return null;
      const index = point.customdata[0];
      return sayTrial(index, [`${data.metric} ${shown(trials[index].best)}`]);
    });
    chart.listen = (on) => {
      on("plotly_selected", (event) => {
        const range = event?.range;
        if (!range) return;
        const [x0, x1, y0, y1] = [...[...range.x].sort((a, b) => a - b), ...[...range.y].sort((a, b) => a - b)];
        const crossed = all.filter((_, x) => x >= x0 - 0.12 && x <= x1 + 0.12);
        if (!crossed.length) return;
        brush(new Set(trials.map((_, index) => index).filter((index) => crossed.every((of) => { const y = at(index, of); return y >= y0 && y <= y1; }))));
      });
      on("plotly_deselect", () => brush(null));
    };
  } else if (box) box.replaceWith(Object.assign(document.createElement("p"), { className: "note", textContent: "No trial has a score yet." }));
}

{
  const shares = Object.entries(data.importances.shares).reverse();
  const box = document.getElementById("importances-chart");
  if (box) {
    box.style.minHeight = `${70 + 26 * shares.length}px`;
    const chart = add(box, () => ({
      traces: [{ type: "bar", orientation: "h", x: shares.map((of) => of[1]), y: shares.map((_, at) => at),
        text: shares.map((of) => of[1] < 0.005 ? "< 1 %" : `${(100 * of[1]).toFixed(0)} %`), textposition: "outside", cliponaxis: false, hoverinfo: "none",
        textfont: { color: colour("ink") }, marker: { color: colour("ramp3") }, width: 0.62 }],
      layout: layout({ xaxis: axis("", { tickformat: ".0%", range: [0, Math.max(...shares.map((of) => of[1])) * 1.12], fixedrange: true }),
        yaxis: axis("", { fixedrange: true, tickfont: { color: colour("ink") }, tickvals: shares.map((_, at) => at), showgrid: false,
          ticktext: shares.map((of) => brief(of[0].replace(/_/g, " "), 28)), range: [-0.6, shares.length - 0.4] }), margin: { l: 20, r: 30, t: 6, b: 30 } }),
    }));
    chart.says = (point) => ({ title: shares[point.pointNumber][0].replace(/_/g, " "), lines: [`explains ${(100 * point.x).toFixed(1)} %`] });
  }
}

{
  const panels = document.getElementById("slices-charts");
  const scored = trials.map((_, index) => index).filter((index) => trials[index].best !== null);
  for (const of of panels ? varied : []) {
    const box = document.createElement("div");
    box.className = "chart";
    box.setAttribute("role", "img");
    box.setAttribute("aria-label", `${data.metric} against ${label(of)}`);
    panels.append(box);
    const isWords = of.kind === "words";
    const make = () => {
      const kept = scored.filter((index) => value(index, of) !== undefined)
        .sort((a, b) => (a === chosen.marked) - (b === chosen.marked) || (a === best) - (b === best));
      const tone = (index) => index === chosen.marked ? colour("mark") : index === best ? colour("accent")
        : isShown(index) ? rampColour(steps[index]) : colour("faint");
      return {
        traces: [{ type: "scatter", mode: "markers", hoverinfo: "none", customdata: kept.map((index) => [index]),
          x: kept.map((index) => isWords ? of.categories.indexOf(value(index, of)) + nudge(index) * 0.36 : isStepped(of) ? value(index, of) + nudge(index) * 0.36 : value(index, of)),
          y: kept.map((index) => trials[index].best),
          marker: { color: kept.map(tone), size: kept.map((index) => index === best || index === chosen.marked ? 10 : kept.length > 150 ? 5 : 7),
            opacity: 0.9, line: { color: colour("paper"), width: 0.6 } } }],
        layout: layout({ margin: { l: 44, r: 8, t: 6, b: 40 },
          xaxis: axis(label(of), isWords
            ? { tickvals: of.categories.map((_, at) => at), ticktext: of.categories.map((word) => brief(shown(word), 14)), range: [-0.6, of.categories.length - 0.4], showgrid: false }
            : of.kind === "log" ? { type: "log", tickvals: ticks(of).map((tick) => of.low * (of.high / of.low) ** tick[0]), ticktext: ticks(of).map((tick) => tick[1]) }
              : of.whole ? { tickformat: "d", nticks: 6 } : { nticks: 6 }),
          yaxis: axis("", { nticks: 5 }) }),
      };
    };
    add(box, make, (point) => {
      const index = point.customdata[0];
      return sayTrial(index, [`${data.metric} ${shown(trials[index].best)}`]);
    });
  }
}
