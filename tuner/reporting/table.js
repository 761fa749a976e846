// The table of trials: sorted by a heading, filtered by words and comparisons.
{
  const table = document.getElementById("trials-table");
  const filter = document.getElementById("trials-filter");
  const count = document.getElementById("trials-count");
  const columns = [
    { name: "trial", of: (trial) => trial.number },
    { name: "state", of: (trial) => trial.state, words: true },
    { name: "score", title: data.metric, of: (trial) => trial.best },
    { name: "best epoch", of: (trial) => trial.best_epoch || null },
    { name: "epochs", of: (trial) => trial.epochs },
    { name: "seconds", of: (trial) => trial.seconds },
    ...data.axes.map((axis) => ({ name: axis.name.replace(/_/g, " "), of: (trial) => trial.hyperparameters[axis.name] ?? null })),
    { name: "attempts", of: (trial) => trial.attempts },
    { name: "error", of: (trial) => trial.error, words: true },
  ];
  if (!trials.some((trial) => trial.error)) columns.pop();
  let sorted = { column: 2, down: higher };

  const head = table.tHead.insertRow();
  columns.forEach((column, index) => {
    const cell = document.createElement("th");
    cell.scope = "col";
    if (column.name === "error") cell.className = "words";
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: column.title || column.name });
    button.addEventListener("click", () => {
      const first = column.name === "score" ? higher : false;
      sorted = { column: index, down: sorted.column === index ? !sorted.down : first };
      show();
    });
    cell.append(button);
    head.append(cell);
  });

  const rows = trials.map((trial, index) => {
    const row = document.createElement("tr");
    if (index === best) row.className = "best";
    columns.forEach((column) => {
      const cell = row.insertCell();
      const found = column.of(trial);
      if (column.name === "score") { cell.className = "score"; cell.textContent = found === null ? "–" : found.toFixed(4); }
      else if (column.name === "state") {
        cell.append(Object.assign(document.createElement("span"), { className: `state state-${found}`, textContent: found }));
      } else { cell.textContent = shown(found); if (column.name === "error") { cell.className = "words"; cell.textContent = found; } }
    });
    row.addEventListener("click", () => mark(index));
    return row;
  });
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const cellTexts = rows.map((row) => [...row.cells].map((cell) => cell.textContent.toLowerCase()));

  const bare = (text) => text.toLowerCase().replace(/[\s_]+/g, " ").trim();
  const OPERATORS = { "=": (a, b) => a === b, "!=": (a, b) => a !== b, ">": (a, b) => a > b, "<": (a, b) => a < b, ">=": (a, b) => a >= b, "<=": (a, b) => a <= b };
  function test(condition) {
    const parts = condition.match(/^(.+?)\s*(>=|<=|!=|=|>|<)\s*(.+)$/);
    const at = parts ? columns.findIndex((column) => [column.name, column.title || ""].map(bare).includes(bare(parts[1]))) : -1;
    if (at < 0) return (index) => texts[index].includes(condition.toLowerCase());
    const [, , operator, wanted] = parts;
    const number = Number(wanted);
    return (index) => {
      const found = columns[at].of(trials[index]);
      if (found === null) return false;
      return typeof found === "number" && !Number.isNaN(number) ? OPERATORS[operator](found, number)
        : OPERATORS[operator](cellTexts[index][at], wanted.toLowerCase());
    };
  }

  function order(a, b) {
    const [x, y] = [a, b].map((index) => columns[sorted.column].of(trials[index]));
    if (x === y) return a - b;
    if (x === null || x === "") return 1;
    if (y === null || y === "") return -1;
    const found = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
    return sorted.down ? -found : found;
  }

  function show() {
    const kept = trials.map((_, index) => index).filter(isShown).sort(order);
    table.tBodies[0].replaceChildren(...kept.map((index) => rows[index]));
    [...head.cells].forEach((cell, index) => {
      if (index === sorted.column) cell.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    });
    count.textContent = kept.length === trials.length ? `all ${trials.length}` : `${kept.length} of ${trials.length}`;
  }

  let waiting = 0;
  filter.addEventListener("input", () => {
    const conditions = filter.value.split(",").map((of) => of.trim()).filter(Boolean).map(test);
    chosen.filtered = conditions.length ? new Set(trials.map((_, index) => index).filter((index) => conditions.every((holds) => holds(index)))) : null;
    show();
    clearTimeout(waiting);
    waiting = setTimeout(redraw, 200);
  });
  document.getElementById("trials-reset").addEventListener("click", () => {
    filter.value = "";
    chosen.filtered = null;
    chosen.marked = -1;
    brush(null);
    showMarked();
  });
  const showMarked = () => rows.forEach((row, index) => row.classList.toggle("marked", index === chosen.marked));
  whenMarked.push(showMarked);
  whenBrushed.push(show);
  show();
}
