// Learning curves: one metric at a time, all trials.
{
  const select = document.getElementById("curves-metric");
  data.curves.metrics.forEach((name, index) => select.append(new Option(words(name), index)));
  const curve = (index) => {
    const values = data.curves.values[+select.value][index];
    const kept = data.curves.epochs[index].map((epoch, at) => [epoch, values[at]]).filter((of) => of[1] !== null);
    return [kept.map((of) => of[0]), kept.map((of) => of[1])];
  };
  const longest = Math.max(1, ...data.curves.epochs.map((of) => of.length ? of[of.length - 1] : 1));

  const make = () => {
    const name = data.curves.metrics[+select.value];
    const traces = lineTraces(curve);
    if (best >= 0 && chosen.marked !== best && name === data.key) {
      traces.push({ type: "scatter", mode: "markers+text", x: [trials[best].best_epoch], y: [trials[best].best], hoverinfo: "skip",
        text: [`trial ${trials[best].number}: ${trials[best].best.toFixed(3)}`], textposition: "top left", cliponaxis: false,
        textfont: { color: colour("accent"), size: 13 }, marker: { color: colour("accent"), size: 9, line: { color: colour("paper"), width: 2 } } });
    }
    // One epoch is a point, which a line does not show.
    const single = trials.map((_, index) => index).filter((index) => curve(index)[0].length === 1);
    if (single.length) {
      traces.push({ type: "scatter", mode: "markers", hoverinfo: "none", x: single.map((of) => curve(of)[0][0]), y: single.map((of) => curve(of)[1][0]),
        customdata: single.map((of) => [of, 0]),
        marker: { size: 6, color: single.map((of) => of === chosen.marked ? colour("mark") : of === best ? colour("accent") : rampColour(steps[of])) } });
    }
    return { traces, layout: layout({
      uirevision: select.value, margin: { l: 52, r: 18, t: 22, b: 44 },
      xaxis: axis("epoch", { rangemode: "tozero", range: [Math.min(1, longest / 2) - 0.02 * longest, longest + Math.max(0.02 * longest, 0.2)],
        tickformat: "d", dtick: longest < 12 ? 1 : undefined }),
      yaxis: axis(words(name), { hoverformat: ".4f" }),
    }) };
  };
  const chart = add("curves-chart", make, (point) => {
    if (!point.customdata) return null;
    const [index] = point.customdata;
    const name = words(data.curves.metrics[+select.value]);
    return sayTrial(index, [`epoch ${point.x}: ${name} ${shown(point.y)}`]);
  });
  select.addEventListener("change", () => draw(chart));
}
