// Scores by class, example windows, time; the copy button and the list of contents.
{
  const box = document.getElementById("classes-chart");
  const series = [
    { name: "validation", symbol: "circle-open", of: (row) => ({ value: row.validation, low: null, high: null }) },
    ...data.tests.map((test, at) => ({ name: `test on ${test.corpus}${test.before ? " (before)" : ""}`, symbol: ["circle", "square", "diamond", "triangle-up", "cross"][at % 5],
      of: (row) => test.classes[row.name] || { value: null, low: null, high: null } })),
  ];
  const rows = [...data.classes].reverse();
  if (box) {
    const room = Math.max(34, 16 * series.length + 10);
    box.style.minHeight = `${110 + room * rows.length}px`;
    const chart = add(box, () => ({
      traces: series.map((one, number) => {
        const found = rows.map(one.of);
        return { type: "scatter", mode: "markers", name: brief(one.name, 40), hoverinfo: "none",
          x: found.map((of) => of.value), y: rows.map((_, at) => at + (series.length - 1 - 2 * number) / 2 * Math.min(0.22, 0.7 / series.length)),
          customdata: rows.map((row, at) => [row.name, one.name, found[at]]),
          error_x: { type: "data", visible: found.some((of) => of.high !== null && of.low !== null), symmetric: false, array: found.map((of) => of.high === null ? null : of.high - of.value), color: colour("soft"),
            arrayminus: found.map((of) => of.low === null ? null : of.value - of.low), thickness: 1.4, width: 4 },
          marker: { symbol: one.symbol, size: 11, color: rows.map((row) => onGround(row.colour)), line: { width: one.symbol.endsWith("open") ? 2.2 : 0 } } };
      }),
      layout: layout({ showlegend: series.length > 1, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", itemclick: false, itemdoubleclick: false },
        margin: { l: 20, r: 12, t: 36, b: 40 }, xaxis: axis("F1", { range: [-0.02, 1.02], fixedrange: true }),
        yaxis: axis("", { tickvals: rows.map((_, at) => at), ticktext: rows.map((row) => brief(row.name, 24)), fixedrange: true,
          range: [-0.6, rows.length - 0.4], tickfont: { color: colour("ink"), size: 13 } }) }),
    }));
    chart.says = (point) => {
      const [name, where, of] = point.customdata;
      const sure = of.low === null || of.high === null ? [] : [["95 %", `${of.low.toFixed(3)} to ${of.high.toFixed(3)}`]];
      const rates = ["precision", "recall", "onsets"].filter((key) => of[key] !== null && of[key] !== undefined).map((key) => [key, of[key]]);
      return { title: `${name}, ${where}`, pairs: [["F1", of.value], ...sure, ...rates] };
    };
  }
}

data.examples.forEach((example, number) => {
  const box = document.getElementById(`example-${number}`);
  const rows = example.rows, count = rows.length;
  const picture = 0.34, room = (1 - picture - 0.02) / count;
  box.style.minHeight = `${210 + 66 * count}px`;
  const times = rows.length ? rows[0].activation.map((_, frame) => frame / example.frames_per_s) : [];
  const chart = add(box, () => {
    const made = layout({ margin: { l: 20, r: 10, t: 8, b: 40 }, images: [{ source: example.picture, xref: "x", yref: "y", x: 0, y: example.bands - 0.5,
      sizex: example.seconds, sizey: example.bands, sizing: "stretch", layer: "below" }],
      xaxis: axis("time in the window (s)", { range: [0, example.seconds], anchor: `y${count + 1}`, showgrid: false }),
      yaxis: axis("", { domain: [1 - picture, 1], range: [-0.5, example.bands - 0.5], fixedrange: true, showgrid: false,
        tickvals: example.ticks.map((of) => of[0]), ticktext: example.ticks.map((of) => of[1]) }), shapes: [] });
    const traces = [];
    rows.forEach((row, at) => {
      const top = 1 - picture - 0.02 - at * room, name = `y${at + 2}`;
      made[`yaxis${at + 2}`] = axis("", { domain: [top - room, top], range: [-0.42, 1.42], fixedrange: true, showgrid: false,
        tickvals: [0.5], ticktext: [brief(row.name, 14)], tickfont: { color: colour("ink") } });
      made.shapes.push({ type: "line", xref: "x", yref: name, x0: 0, x1: example.seconds, y0: row.threshold, y1: row.threshold,
        line: { color: colour("soft"), width: 1, dash: "dot" } });
      if (at) made.shapes.push({ type: "line", xref: "paper", yref: name, x0: 0, x1: 1, y0: 1.42, y1: 1.42, line: { color: colour("grid"), width: 1 } });
      const base = { type: "scatter", xaxis: "x", yaxis: name, hoverinfo: "none" };
      traces.push({ ...base, mode: "lines", x: times, y: row.activation, fill: "tozeroy", fillcolor: `${onGround(row.colour)}38`, line: { color: onGround(row.colour), width: 1.5 },
        customdata: times.map(() => `${row.name}: activation`) });
      for (const [key, y, symbol, said] of [["hits", 1.2, "triangle-down", "found"], ["false_alarms", 1.2, "triangle-down-open", "false alarm"],
        ["annotated", -0.22, "triangle-up", "annotated, found"], ["missed", -0.22, "triangle-up-open", "missed"]]) {
        traces.push({ ...base, mode: "markers", x: row[key], y: row[key].map(() => y), customdata: row[key].map(() => `${row.name}: ${said}`),
          marker: { symbol, size: isNarrow() ? 7 : 9, color: symbol.endsWith("open") ? colour("bad") : onGround(row.colour), line: { width: symbol.endsWith("open") ? 1.6 : 0 } } });
      }
    });
    return { traces, layout: made };
  });
  chart.says = (point) => {
    const isMark = point.data.mode === "markers";
    return { title: `${point.customdata}${isMark ? "" : ` ${shown(point.y)}`}`, lines: [`at ${(+point.x).toFixed(2)} s`] };
  };
});

{
  const box = document.getElementById("time-chart");
  const STAGES = { start: "#888d94", data: "#56B4E9", forward: "#0072B2", backward: "#004a75", optimiser: "#CC79A7", validation: "#009E73",
    checkpoint: "#C9B800", reporting: "#E69F00", rest: "#b9bcc1" };
  if (data.profile) {
    const rows = data.profile.trials;
    const isAcross = rows.length <= 30;
    const bars = () => data.profile.stages.map((stage) => {
      const seconds = rows.map((row) => row.seconds[stage]);
      const names = rows.map((row) => isAcross ? `trial ${row.trial}` : row.trial);
      return { type: "bar", name: stage, hoverinfo: "none", orientation: isAcross ? "h" : "v", x: isAcross ? seconds : names, y: isAcross ? names : seconds,
        customdata: rows.map((row) => row), marker: { color: onGround(STAGES[stage] || "#6b6f76") }, width: isAcross ? 0.66 : undefined };
    });
    if (isAcross) box.style.minHeight = `${130 + 24 * rows.length}px`;
    const chart = add(box, () => ({ traces: bars(), layout: layout({ barmode: "stack", bargap: 0.1, showlegend: true, dragmode: false,
      legend: { orientation: "h", x: 0, y: 1.01, yanchor: "bottom", traceorder: "normal", itemclick: false, itemdoubleclick: false },
      margin: { l: 20, r: 12, t: 60, b: 40 },
      xaxis: axis(isAcross ? "seconds" : "trial", { fixedrange: true, showgrid: isAcross }),
      yaxis: axis(isAcross ? "" : "seconds", { fixedrange: true, autorange: isAcross ? "reversed" : true, showgrid: !isAcross }) }) }));
    chart.says = (point) => {
      const of = point.customdata, sum = Object.values(of.seconds).reduce((a, b) => a + b, 0);
      return { title: `trial ${of.trial}: ${sum.toFixed(1)} s`,
        pairs: data.profile.stages.map((stage) => [stage, `${of.seconds[stage].toFixed(1)} s, ${sum ? (100 * of.seconds[stage] / sum).toFixed(0) : 0} %`]) };
    };
  } else {
    const median = (found) => { const held = found.filter((of) => of !== null && of !== undefined).sort((a, b) => a - b); return held.length ? held[held.length >> 1] : null; };
    const column = (name) => { const at = data.curves.metrics.indexOf(name); return trials.map((_, index) => at < 0 ? null : median(data.curves.values[at][index])); };
    const seconds = column("seconds"), speed = column("windows_per_s");
    add(box, () => {
      const dots = (values, on) => ({ type: "scatter", mode: "markers", hoverinfo: "none", x: trials.map((of) => of.number), y: values, customdata: trials.map((_, index) => [index]),
        xaxis: "x", yaxis: on, marker: { size: 7, color: trials.map((_, index) => index === chosen.marked ? colour("mark") : index === best ? colour("accent") : isShown(index) ? colour("ramp3") : colour("faint")) } });
      return { traces: [dots(seconds, "y"), dots(speed, "y2")], layout: layout({ margin: { l: 56, r: 12, t: 8, b: 44 },
        xaxis: axis("trial", { anchor: "y2", tickformat: "d", range: [0.4, trials[trials.length - 1].number + 0.6], dtick: trials.length < 15 ? 1 : undefined }),
        yaxis: axis("seconds an epoch", { domain: [0.55, 1], rangemode: "tozero" }), yaxis2: axis("windows a second", { domain: [0, 0.45], rangemode: "tozero" }) }) };
    }, (point) => { const index = point.customdata[0]; return sayTrial(index, [`${shown(seconds[index])} s an epoch`, `${shown(speed[index])} windows a second`]); });
    box.style.minHeight = "360px";
  }
}

document.getElementById("copy")?.addEventListener("click", async (event) => {
  const text = document.getElementById("command").textContent;
  const button = event.currentTarget;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {  // a page from a disk may not: it is marked, ready for Ctrl-C
    getSelection().selectAllChildren(document.getElementById("command"));
    button.textContent = document.execCommand("copy") ? "Copied" : "Marked";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 1800);
});

{
  const links = new Map([...document.querySelectorAll(".contents a")].map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) links.forEach((link, id) => link.classList.toggle("here", id === entry.target.id));
  }, { rootMargin: "-10% 0px -75% 0px" });
  document.querySelectorAll("main > section").forEach((section) => seen.observe(section));
}
