"use strict";
// Draws the figures of the page from the report inside it, and builds their controls.
(() => {
  const report = JSON.parse(document.getElementById("report").textContent);
  const MARKERS = ["circle", "square", "diamond", "triangle-up", "triangle-down", "star", "x"];
  const DASHES = ["solid", "dash", "dot", "dashdot"];
  const CROWDED = 12; // from so many columns on, cells have no numbers in them
  // From what one does not want to what one wants, with what tells nothing in the middle.
  const DIVERGING = [[0, "#b2182b"], [0.25, "#f4a582"], [0.5, "#eeeeee"], [0.75, "#92c5de"], [1, "#2166ac"]];
  const CONFIG = {
    responsive: true,
    displaylogo: false,
    scrollZoom: false,
    modeBarButtons: [["toImage"]],
    toImageButtonOptions: { format: "svg" },
  };

  // --- text ---------------------------------------------------------------------------------

  const number = (value, digits = 2) => {
    const text = value.toFixed(digits);
    return Number(text) === 0 ? text.replace("-", "") : text;
  };
  const amount = (value) =>
    Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en-US") : number(value);
  const interval = (found, write = number) =>
    found.low === null
      ? write(found.value)
      : `${write(found.value)} [${write(found.low)}, ${write(found.high)}]`;
  const unique = (values) => [...new Set(values)];

  // --- what is shown of a section -----------------------------------------------------------

  const states = report.sections.map((section) => ({
    section,
    methods: unique(section.groups.map((group) => group.method_label)),
    regimes: unique(section.regimes.map((regime) => regime.label)),
    hidden: new Set(),
    statistic: section.statistic,
    plots: [],
  }));

  const visible = (state) =>
    state.section.groups.filter(
      (group) => !state.hidden.has(group.method_label) && !state.hidden.has(group.agent_label),
    );
  const nameGroup = (state, group) =>
    state.regimes.length > 1 ? `${group.method_label}, ${group.agent_label}` : group.method_label;
  const methodColour = (state, label) =>
    report.palette[state.methods.indexOf(label) % report.palette.length];
  const methodMarker = (state, label) => MARKERS[state.methods.indexOf(label) % MARKERS.length];
  const regimeColour = (state, label) => {
    const agents = state.section.regimes;
    const own = report.regime_colours[agents.find((regime) => regime.label === label).agent];
    const twice = agents.some(
      (regime) => regime.label !== label && report.regime_colours[regime.agent] === own,
    );
    return own && !twice ? own : report.palette[state.regimes.indexOf(label) % report.palette.length];
  };
  // One regime: a dash for each round of the palette. Several: a dash for each regime.
  const lineOf = (state, group) => {
    const round = Math.floor(state.methods.indexOf(group.method_label) / report.palette.length);
    const turn = state.regimes.length > 1 ? state.regimes.indexOf(group.agent_label) : round;
    return {
      color: methodColour(state, group.method_label),
      dash: DASHES[turn % DASHES.length],
      width: 2,
    };
  };

  // --- controls -----------------------------------------------------------------------------

  const element = (tag, attributes = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), attributes);
    made.append(...children);
    return made;
  };

  // options: [value, text] pairs, or {group: text, options: pairs}
  const select = (place, text, options, changed, chosen) => {
    const entry = ([value, label]) =>
      element("option", { value, textContent: label, selected: value === chosen });
    const id = `control-${document.querySelectorAll("select").length}`;
    const made = element(
      "select",
      { id },
      ...options.map((option) =>
        Array.isArray(option)
          ? entry(option)
          : element("optgroup", { label: option.group }, ...option.options.map(entry)),
      ),
    );
    made.addEventListener("change", changed);
    place.append(element("span", {}, element("label", { htmlFor: id, textContent: text }), made));
    return made;
  };

  const checkboxes = (place, legend, labels, colour, state) => {
    const boxes = labels.map((label) => {
      const box = element("input", { type: "checkbox", checked: true });
      box.addEventListener("change", () => {
        state.hidden[box.checked ? "delete" : "add"](label);
        redraw(state);
      });
      const swatch = element("span", { className: "swatch" });
      swatch.style.background = colour(label);
      return element("label", {}, box, swatch, label);
    });
    const all = (checked) => {
      const button = element("button", { type: "button", textContent: checked ? "all" : "none" });
      button.addEventListener("click", () => {
        labels.forEach((label) => state.hidden[checked ? "delete" : "add"](label));
        boxes.forEach((label) => (label.firstChild.checked = checked));
        redraw(state);
      });
      return button;
    };
    const fieldset = element("fieldset", {}, element("legend", { textContent: legend }), ...boxes);
    if (labels.length > 3) fieldset.append(all(true), all(false));
    place.append(fieldset);
  };

  // --- figures: each kind makes its controls, and returns what draws it ----------------------

  // Fixed, so that a finger on a figure scrolls the page.
  const axis = (title, more = {}) => ({
    title: { text: title },
    automargin: true,
    fixedrange: true,
    ...more,
  });
  const down = (count) => axis("", { autorange: "reversed", type: "category", nticks: count });
  const kinds = {};

  kinds.matrix = (state, controls, redrawn) => {
    const { section } = state;
    const groups = section.groups.map((group, index) => [String(index), nameGroup(state, group)]);
    const runs = () => {
      const found = section.groups[Number(group.value)].runs_by_seed;
      const mean = found.length > 1 ? [["mean", `mean of ${found.length} runs`]] : [];
      const options = [...mean, ...found.map((one, i) => [String(i), `seed ${one.seed}`])];
      run.replaceChildren(
        ...options.map(([value, textContent]) => element("option", { value, textContent })),
      );
    };
    const changed = () => {
      runs();
      redrawn();
    };
    const group = select(controls, "method", groups, changed);
    const run = select(controls, "run", [], redrawn);
    runs();
    return () => {
      const chosen = section.groups[Number(group.value)];
      const matrix = run.value === "mean" ? chosen.matrix : chosen.runs_by_seed[run.value].matrix;
      const z = section.tasks.map((_, j) => matrix.map((row) => row[j]));
      const x = matrix.map((_, i) => (i === 0 ? "before" : String(i)));
      const names = matrix.map((_, i) =>
        i === 0 ? "before learning" : `after ${section.phases[i - 1]}`,
      );
      return {
        traces: [
          {
            type: "heatmap",
            z,
            x,
            y: section.tasks.map((task, j) => `${j + 1} ${task}`),
            zmin: 0,
            zmax: 1,
            colorscale: "Viridis",
            xgap: 1,
            ygap: 1,
            text: z.map((row) => row.map((value) => number(value))),
            customdata: z.map(() => names),
            texttemplate: x.length > CROWDED ? "" : "%{text}",
            hovertemplate: "%{y}, %{customdata}: %{text}<extra></extra>",
            colorbar: { thickness: 10, outlinewidth: 0 },
          },
        ],
        layout: {
          height: 110 + 30 * section.tasks.length,
          xaxis: axis("tasks learned", { type: "category" }),
          yaxis: down(section.tasks.length),
        },
      };
    };
  };

  kinds.curves = (state, controls, redrawn) => {
    const { section } = state;
    const one = section.groups.length === 1;
    const byTask = {
      group: "one task, every method",
      options: ["all tasks", ...section.tasks].map((task) => [`task ${task}`, task]),
    };
    const byMethod = {
      group: "one method, every task",
      options: section.groups.map((group, i) => [`group ${i}`, nameGroup(state, group)]),
    };
    const what = select(controls, "show", one ? [byMethod, byTask] : [byTask, byMethod], redrawn);
    return () => {
      const [kind, ...rest] = what.value.split(" ");
      const key = rest.join(" ");
      const last = section.tasks.length - 1;
      const lines =
        kind === "task"
          ? visible(state).map((group) => ({
              name: nameGroup(state, group),
              curve: group.curves[key],
              line: lineOf(state, group),
              symbol: methodMarker(state, group.method_label),
            }))
          : section.tasks.map((task, j) => ({
              name: `${j + 1} ${task}`,
              curve: section.groups[Number(key)].curves[task],
              line: { color: shade(last ? j / last : 0), width: 2 },
              symbol: MARKERS[j % MARKERS.length],
            }));
      const starts = section.starts;
      return {
        traces: lines.flatMap((line) => lineWithBand(line, "steps", { mode: "lines+markers" })),
        layout: {
          height: 330 + legendHeight(lines),
          xaxis: axis("steps", { range: [0, starts[starts.length - 1]], zeroline: false }),
          yaxis: axis(section.measure, { range: [-0.03, 1.03] }),
          shapes: starts.slice(1, -1).map((start) => ({
            type: "line",
            x0: start,
            x1: start,
            y0: 0,
            y1: 1,
            yref: "paper",
            line: { width: 1, dash: "dot" },
          })),
        },
      };
    };
  };

  const VIRIDIS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
  // From 0.25 to 0.9 of the scale, which both light and dark paper set off.
  const shade = (share) => {
    const at = (0.25 + 0.65 * share) * (VIRIDIS.length - 1);
    const low = Math.min(Math.floor(at), VIRIDIS.length - 2);
    const mixed = VIRIDIS[low].map((c, i) => c + (at - low) * (VIRIDIS[low + 1][i] - c));
    return `rgb(${mixed.map(Math.round).join(",")})`;
  };

  // The line itself comes first, so that its hover and legend are those of the pair.
  const lineWithBand = ({ name, curve, line, symbol }, along, more) => {
    const told = curve.value.map((value, i) =>
      interval({
        value,
        low: curve.low && curve.low[i],
        high: curve.high && curve.high[i],
      }),
    );
    const main = {
      type: "scatter",
      name,
      x: curve[along],
      y: curve.value,
      text: told,
      line,
      marker: { symbol, size: 6 },
      legendgroup: name,
      hovertemplate: "%{text}",
      ...more,
    };
    if (!curve.low) return [main];
    const fill = line.color.startsWith("#")
      ? line.color + "33"
      : line.color.replace("rgb", "rgba").replace(")", ",0.2)");
    const band = {
      type: "scatter",
      x: [...curve[along], ...[...curve[along]].reverse()],
      y: [...curve.high, ...[...curve.low].reverse()],
      fill: "toself",
      fillcolor: fill,
      line: { width: 0 },
      mode: "lines",
      legendgroup: name,
      showlegend: false,
      hoverinfo: "skip",
    };
    return [main, band];
  };

  // Legends stand below; about three names go into a row.
  const legendHeight = (names) => (names.length > 1 ? 20 * Math.ceil(names.length / 3) + 10 : 0);

  const scoreOptions = (section, names = Object.keys(report.scores)) =>
    names
      .filter((name) => section.groups.some((group) => group.scores[name]))
      .map((name) => [name, report.scores[name]]);

  // A bar for each method, or where only one group is shown a bar for each task.
  const barChart = (state, title, estimate, byTask, write) => {
    const groups = visible(state).filter((group) => estimate(group));
    if (groups.length === 1 && byTask(groups[0])) {
      const tasks = Object.entries(byTask(groups[0])).filter(([, value]) => value !== null);
      return {
        traces: [
          {
            type: "bar",
            orientation: "h",
            y: tasks.map(([task]) => `${state.section.tasks.indexOf(task) + 1} ${task}`),
            x: tasks.map(([, value]) => value),
            text: tasks.map(([, value]) => write(value)),
            textposition: "none",
            marker: { color: methodColour(state, groups[0].method_label) },
            hovertemplate: "%{y}: %{text}<extra></extra>",
          },
        ],
        layout: {
          height: 100 + 30 * tasks.length,
          xaxis: axis(title, { rangemode: "tozero" }),
          yaxis: down(tasks.length),
        },
      };
    }
    const several = state.regimes.length > 1;
    const regimes = state.regimes.filter((r) => groups.some((group) => group.agent_label === r));
    const methods = unique(groups.map((group) => group.method_label));
    const traces = regimes.map((regime) => {
      const own = groups.filter((group) => group.agent_label === regime);
      const found = own.map(estimate);
      return {
        type: "bar",
        orientation: "h",
        name: regime,
        y: own.map((group) => group.method_label),
        x: found.map((one) => one.value),
        text: found.map((one, i) => {
          const runs = own[i].runs.length;
          return `${interval(one, write)}, ${runs} run${runs === 1 ? "" : "s"}`;
        }),
        textposition: "none",
        marker: {
          color: several
            ? regimeColour(state, regime)
            : own.map((group) => methodColour(state, group.method_label)),
        },
        error_x: {
          type: "data",
          symmetric: false,
          array: found.map((one) => (one.high === null ? null : one.high - one.value)),
          arrayminus: found.map((one) => (one.low === null ? null : one.value - one.low)),
          thickness: 1.2,
          width: 3,
        },
        hovertemplate: `%{y}, ${regime}: %{text}<extra></extra>`,
      };
    });
    return {
      traces,
      layout: {
        height: 100 + methods.length * Math.max(24, 15 * regimes.length) + legendHeight(regimes),
        barmode: "group",
        xaxis: axis(title, { rangemode: "tozero" }),
        yaxis: { ...down(methods.length), categoryorder: "array", categoryarray: methods },
        showlegend: several,
      },
    };
  };

  kinds.bars = (state, controls, redrawn) => {
    const score = select(controls, "score", scoreOptions(state.section), redrawn, "forgetting");
    return () =>
      barChart(
        state,
        report.scores[score.value],
        (group) => group.scores[score.value] && group.scores[score.value][state.statistic],
        (group) => group.scores_by_task[score.value],
        number,
      );
  };

  kinds.cost = (state, controls, redrawn) => {
    const { section } = state;
    const counted = (group, name) => group.cost[name] ?? null;
    const known = Object.entries(report.costs).filter(([name]) =>
      section.groups.some((group) => group.scores[name] || counted(group, name) !== null),
    );
    const cost = select(controls, "cost", known, redrawn);
    return () =>
      barChart(
        state,
        report.costs[cost.value],
        (group) => {
          const found = group.scores[cost.value];
          if (found) return found.mean;
          const value = counted(group, cost.value);
          return value === null ? null : { value, low: null, high: null };
        },
        (group) => group.scores_by_task[cost.value],
        amount,
      );
  };

  kinds["by-task"] = (state, controls, redrawn) => {
    const { section } = state;
    const score = select(controls, "score", scoreOptions(section), redrawn, "forgetting");
    return () => {
      const groups = visible(state).filter((group) => group.scores_by_task[score.value]);
      const z = groups.map((group) =>
        section.tasks.map((task) => group.scores_by_task[score.value][task] ?? null),
      );
      const signed = z.flat().some((value) => value !== null && value < 0);
      const most = Math.max(...z.flat().map((value) => Math.abs(value ?? 0)), 0.05);
      return {
        traces: [
          {
            type: "heatmap",
            z,
            x: section.tasks.map((task, j) => `${j + 1} ${task}`),
            y: groups.map((group) => nameGroup(state, group)),
            zmin: signed ? -most : 0,
            zmax: signed ? most : Math.max(most, 1),
            colorscale: signed ? DIVERGING : "Viridis",
            reversescale: signed && score.value === "forgetting",
            xgap: 1,
            ygap: 1,
            text: z.map((row) => row.map((value) => (value === null ? "" : number(value)))),
            texttemplate: section.tasks.length >= CROWDED ? "" : "%{text}",
            hovertemplate: "%{y}, %{x}: %{text}<extra></extra>",
            colorbar: { thickness: 10, outlinewidth: 0 },
          },
        ],
        layout: {
          height: 140 + 24 * groups.length,
          xaxis: axis("", { type: "category" }),
          yaxis: down(groups.length),
        },
      };
    };
  };

  kinds.profiles = (state, controls, redrawn) => {
    const names = unique(state.section.groups.flatMap((group) => Object.keys(group.profiles)));
    const score = select(controls, "score", scoreOptions(state.section, names), redrawn);
    return () => {
      const groups = visible(state).filter((group) => group.profiles[score.value]);
      const lines = groups.map((group) => ({
        name: nameGroup(state, group),
        curve: group.profiles[score.value],
        line: lineOf(state, group),
      }));
      return {
        traces: lines.flatMap((line) => lineWithBand(line, "thresholds", { mode: "lines" })),
        layout: {
          height: 330 + legendHeight(lines),
          xaxis: axis(`${report.scores[score.value]} above`, { range: [0, 1] }),
          yaxis: axis("share of runs and tasks", { range: [-0.03, 1.03] }),
        },
      };
    };
  };

  kinds.improvement = (state, controls, redrawn) => {
    const { section } = state;
    const regimes = Object.keys(section.improvement);
    const regime = select(controls, "regime", regimes.map((name) => [name, name]), redrawn);
    const names = unique(regimes.flatMap((name) => Object.keys(section.improvement[name])));
    const score = select(controls, "score", scoreOptions(section, names), redrawn);
    return () => {
      const found = section.improvement[regime.value][score.value];
      const kept = found
        ? found.methods.map((_, i) => i).filter((i) => !state.hidden.has(found.methods[i]))
        : [];
      const pick = (table) => kept.map((i) => kept.map((j) => table[i][j]));
      const z = kept.length ? pick(found.value) : [];
      const [low, high] = kept.length ? [pick(found.low), pick(found.high)] : [[], []];
      const methods = kept.map((i) => found.methods[i]);
      return {
        traces: [
          {
            type: "heatmap",
            z,
            x: methods,
            y: methods,
            zmin: 0,
            zmax: 1,
            colorscale: DIVERGING,
            xgap: 1,
            ygap: 1,
            text: z.map((row) => row.map((value) => (value === null ? "" : number(value)))),
            customdata: z.map((row, i) =>
              row.map((value, j) =>
                value === null ? "-" : interval({ value, low: low[i][j], high: high[i][j] }),
              ),
            ),
            texttemplate: methods.length >= CROWDED ? "" : "%{text}",
            hovertemplate: "%{y} better than %{x}: %{customdata}<extra></extra>",
            colorbar: { thickness: 10, outlinewidth: 0 },
          },
        ],
        layout: {
          height: 160 + 24 * methods.length,
          xaxis: axis("", { type: "category", nticks: methods.length }),
          yaxis: down(methods.length),
        },
      };
    };
  };

  kinds.gap = (state, controls, redrawn) => {
    const { section } = state;
    const names = ["forgetting", "retention", "average_performance", "learned_performance"];
    const pairs = unique(section.gaps.map((gap) => JSON.stringify([gap.from, gap.to])));
    const options = pairs.map((pair) => [pair, JSON.parse(pair).join(" → ")]);
    const ends = JSON.stringify([state.regimes[0], state.regimes[state.regimes.length - 1]]);
    const pair = select(controls, "regimes", options, redrawn, ends);
    const score = select(controls, "score", scoreOptions(section, names), redrawn);
    return () => {
      const [across, up] = JSON.parse(pair.value);
      const of = (method, regime) =>
        section.groups.find(
          (group) =>
            group.method_label === method &&
            group.agent_label === regime &&
            group.scores[score.value],
        );
      const both = state.methods.filter(
        (method) => !state.hidden.has(method) && of(method, across) && of(method, up),
      );
      const error = (found) => ({
        type: "data",
        symmetric: false,
        array: [found.high === null ? null : found.high - found.value],
        arrayminus: [found.low === null ? null : found.value - found.low],
        thickness: 1.2,
        width: 3,
      });
      const traces = both.map((method) => {
        const [x, y] = [across, up].map(
          (regime) => of(method, regime).scores[score.value][state.statistic],
        );
        return {
          type: "scatter",
          mode: "markers",
          name: method,
          x: [x.value],
          y: [y.value],
          error_x: error(x),
          error_y: error(y),
          marker: {
            symbol: `${methodMarker(state, method)}-open`,
            color: methodColour(state, method),
            size: 10,
            line: { width: 2 },
          },
          hovertemplate: `${across}: ${interval(x)}<br>${up}: ${interval(y)}`,
        };
      });
      const shown = report.scores[score.value];
      return {
        traces,
        layout: {
          height: 420 + legendHeight(both),
          xaxis: axis(`${shown}, ${across}`, { range: [-0.05, 1.05] }),
          yaxis: axis(`${shown}, ${up}`, { range: [-0.05, 1.05] }),
          shapes: [
            { type: "line", x0: -0.05, y0: -0.05, x1: 1.05, y1: 1.05, line: { width: 1, dash: "dash" } },
          ],
        },
      };
    };
  };

  // --- drawing ------------------------------------------------------------------------------

  const LAYOUT = {
    margin: { l: 10, r: 10, t: 10, b: 10 },
    font: { family: "system-ui, sans-serif", size: 12 },
    paper_bgcolor: "transparent",
    plot_bgcolor: "transparent",
    dragmode: false,
    hoverlabel: { namelength: -1 },
    legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", x: 0 },
  };

  const drawn = new Set();
  const draw = (plot) => {
    drawn.add(plot);
    const { traces, layout } = plot.make();
    const empty = traces.every((trace) => !(trace.x || []).length);
    const notice = { text: "nothing to show", showarrow: false, xref: "paper", yref: "paper" };
    plot.chart.style.height = `${layout.height}px`;
    Plotly.react(
      plot.chart,
      traces,
      { ...LAYOUT, ...layout, annotations: empty ? [{ ...notice, x: 0.5, y: 0.5 }] : [] },
      CONFIG,
    );
  };
  const redraw = (state) => state.plots.filter((plot) => drawn.has(plot)).forEach(draw);

  const plots = new Map();
  const seen = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        seen.unobserve(entry.target);
        draw(plots.get(entry.target));
      }
    },
    { rootMargin: "800px" },
  );
  for (const place of document.querySelectorAll(".controls.section")) {
    const state = states[place.dataset.section];
    if (state.section.groups.length === 1) continue; // nothing to choose from
    checkboxes(place, "methods", state.methods, (m) => methodColour(state, m), state);
    if (state.regimes.length > 1)
      checkboxes(place, "regimes", state.regimes, (r) => regimeColour(state, r), state);
    const changed = (event) => {
      state.statistic = event.target.value;
      redraw(state);
    };
    select(place, "statistic", Object.entries(report.statistics), changed, state.statistic);
  }
  for (const figure of document.querySelectorAll("figure.plot")) {
    const state = states[figure.dataset.section];
    const plot = { chart: figure.querySelector(".chart") };
    const redrawn = () => draw(plot);
    plot.make = kinds[figure.dataset.kind](state, figure.querySelector(".controls"), redrawn);
    state.plots.push(plot);
    plots.set(figure, plot);
    seen.observe(figure);
  }

  // On paper everything is seen.
  const folded = [...document.querySelectorAll("details")];
  let open = [];
  addEventListener("beforeprint", () => {
    plots.forEach((plot) => drawn.has(plot) || draw(plot));
    open = folded.filter((one) => one.open);
    folded.forEach((one) => (one.open = true));
  });
  addEventListener("afterprint", () => folded.forEach((one) => (one.open = open.includes(one))));
})();
