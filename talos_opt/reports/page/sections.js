// The parts of the report beside the charts of one schedule.

const OBJECTIVES = {
  toct: "weighted sum of completion times (TOCT)",
  makespan: "time until the last model is done (makespan)",
  bottleneck: "time per sample when pipelined (bottleneck)",
  memory: "largest share of a device's memory",
  step: "time of a step of micro-batches",
};

function unitOf(page, objective) {
  return objective === "memory" ? page.memory_unit : page.unit;
}

function worth(page, objective, value) {
  const unit = unitOf(page, objective);
  return unit === "bytes" ? bytes(value) : duration(value, unit);
}

// The same as an element that shows every digit under the pointer.
function worthy(page, objective, value) {
  return exactly(worth(page, objective, value), value, unitOf(page, objective));
}

function section(id, title, ...content) {
  return node("section", { "aria-labelledby": `${id}-title` }, node("h2", { id: `${id}-title` }, title), content);
}

function headline(plan) {
  const { page, facts } = plan;
  const tile = (term, value, note = null, tone = null) =>
    node("div", { class: "tile" }, node("dt", {}, term), node("dd", { class: tone }, value, note ? node("small", {}, ` ${note}`) : null));
  if (facts.broken_rules) {
    const rules = `This schedule breaks ${count(facts.broken_rules)} rule${facts.broken_rules > 1 ? "s" : ""} of the model: it is not feasible, and its value is meaningless.`;
    return [node("dl", { class: "tiles" }, tile("status", "not feasible", null, "warn")), node("p", {}, rules)];
  }
  // The number in large letters, its unit in small ones.
  const valued = (term, objective, value, more = "") => {
    const [text, ...unit] = worth(page, objective, value).split(" ");
    return tile(term, exactly(text, value, unitOf(page, objective)), [...unit, more].join(" ").trim());
  };
  const proven = facts.gap !== null && facts.status === "optimal";
  const tiles = [
    facts.status ? tile("status", facts.status, null, proven ? "good" : null) : null,
    facts.value !== null ? valued(facts.objective, facts.objective, facts.value) : null,
    facts.lower_bound !== null ? valued("proven bound", facts.objective, facts.lower_bound) : null,
    facts.gap !== null ? tile("gap", percent(facts.gap)) : null,
    ...Object.keys(OBJECTIVES)
      .filter((name) => name !== facts.objective && facts[name] !== undefined && facts[name] !== null)
      .map((name) => valued(name, name, facts[name], name === "bottleneck" ? (facts.bottleneck_on ?? "") : "")),
    facts.weighted_speedup ? tile("weighted speedup", number(facts.weighted_speedup, 4), `over ${facts.reference}`) : null,
    facts.solver ? tile("solver", facts.solver, facts.runtime_s === null ? null : duration(facts.runtime_s, "s", 3)) : null,
  ];
  const known = facts.value === null ? null : knownText(plan);
  return [node("dl", { class: "tiles" }, tiles.filter(Boolean)), node("p", {}, proof(plan)), known ? node("p", {}, known) : null];
}

// What is proven, in a sentence.
function proof(plan) {
  const { page, facts } = plan;
  const what = OBJECTIVES[facts.objective] ?? "value";
  if (facts.lower_bound === null || (facts.lower_bound <= 0 && facts.status !== "optimal")) {
    return facts.status === "optimal"
      ? "The file calls this schedule optimal, but states no bound that proves it."
      : "Nothing is proven about how far this schedule is from the best one.";
  }
  const by = facts.bound_from ? `, proven with ${facts.bound_from}` : "";
  if (facts.status === "optimal") {
    return `Proven optimal${by}: no schedule of this graph on these devices has a smaller ${what}.`;
  }
  const bound = worth(page, facts.objective, facts.lower_bound);
  return (
    `No schedule has a ${what} below ${bound}${by}. ` +
    `So none can be better than this one by more than ${percent(facts.gap)}; whether one is better at all is open.`
  );
}

function knownText(plan) {
  const { page, facts } = plan;
  const known = page.known;
  const value = known?.[facts.objective];
  if (typeof value !== "number") return null;
  const source = known.source ? ` (${known.source})` : "";
  const ahead = (facts.value - value) / Math.max(Math.abs(value), 1e-12);
  const verdict =
    Math.abs(ahead) <= 1e-6 ? "this schedule reaches it" : `this schedule is ${percent(Math.abs(ahead))} ${ahead > 0 ? "above" : "below"} it`;
  return `The graph states a known best ${facts.objective} of ${worth(page, facts.objective, value)}${source}: ${verdict}.`;
}

function deviceTable(plan) {
  const { page, facts } = plan;
  const rows = plan.devices.map((device, d) => [
    device.id,
    device.kind,
    String(device.slots),
    count(device.ops),
    share(device.load, facts.longest, page.timed(device.load)),
    plan.where ? plan.busyShare(d) : DASH,
    page.timed(settled(device.idle, plan.horizon)),
    bytes(device.held),
    device.limit === null ? "none" : bytes(device.limit),
    device.limit > 0 ? percent(device.held / device.limit) : DASH,
    bytes(device.peak),
  ]);
  const headings = [["device", true], ["kind", true], ["slots"], ["ops"], ["load"], ["busy"], ["idle"], [`memory (${facts.memory_rule})`], ["limit"], ["used"], ["alive at once"]];
  return table(headings, rows, { caption: "Load: time busy per sample in steady state. Busy: share of the makespan. Idle: gaps before the device's last activity ends." });
}

function share(value, whole, text) {
  const part = whole > 0 ? Math.min(1, value / whole) : 0;
  const bar = node("span", { class: "meter", "aria-hidden": "true" }, node("i", { style: { width: `${100 * part}%` } }));
  return node("span", {}, bar, text);
}

// Numbers of the plans, the best one first.
function ranked(plans) {
  const worth = (k) => plans[k].facts.value ?? Infinity;
  return plans.map((_, k) => k).sort((a, b) => (worth(a) === worth(b) ? a - b : worth(a) - worth(b)));
}

// A row for each schedule, the best one first; a click on one shows it.
function comparison(page, plans, current, show) {
  const others = Object.keys(OBJECTIVES).filter(
    (name) => name !== page.objective && plans.some((plan) => (plan.facts[name] ?? null) !== null),
  );
  const best = Math.min(...plans.map((plan) => plan.facts.value));
  const order = ranked(plans);
  const several = plans.length > 1;
  const name = (k) => {
    const { label } = plans[k];
    if (!several) return label;
    const made = node("button", { type: "button", class: "link", "aria-current": k === current ? "true" : null, on: { click: (event) => (event.stopPropagation(), show(k)) } }, breakable(label));
    return [made, plans[k].facts.value === best ? node("span", { class: "best" }, "best") : null];
  };
  const rows = order.map((k) => [k, plans[k].facts]).map(([k, facts]) => [
    name(k),
    facts.solver ?? DASH,
    facts.status ?? DASH,
    worthy(page, page.objective, facts.value),
    best > 0 ? number(facts.value / best, 5) : "1",
    facts.own_bound === null ? DASH : worthy(page, page.objective, facts.own_bound),
    percent(facts.gap),
    facts.runtime_s === null ? DASH : duration(facts.runtime_s, "s", 3),
    ...others.map((name) => worthy(page, name, facts[name])),
    page.timed(facts.idle),
    bytes(facts.moved),
  ]);
  const headings = [["schedule", true], ["solver", true], ["status", true], [page.objective], ["ratio"], ["own bound"], ["gap"], ["time"], ...others.map((name) => [name]), ["idle"], ["moved"]];
  const caption = "Ratio: value over the best value here. Gap: to the best bound that any of these files states.";
  const pick = several ? (r) => show(order[r]) : null;
  return table(headings, rows, { caption: several ? `${caption} A click on a row shows that schedule.` : caption, chosen: several ? order.indexOf(current) : -1, pick });
}

// Best value and bound over the time of each search, in one chart.
function progress(page, plans, theme, host) {
  const runs = plans.map((plan, k) => searchOf(plan, theme.palette[k % theme.palette.length]));
  const [first, last] = extremes(runs.flatMap((run) => run.t.filter((t) => t > 0)));
  const log = last > 30 * first;
  const series = runs.flatMap((run) => [
    { name: `${run.label}: best value`, colour: run.colour, x: run.t, y: run.value, step: true, points: true },
    { name: `${run.label}: bound`, colour: run.colour, x: run.t, y: run.bound, step: true, points: true, dash: "6 4" },
  ]);
  // A first guess many times the best value would press all that follows into a line.
  const [least, most] = extremes(series.flatMap((line) => extremes(line.y)));
  const steep = least > 0 && most > 8 * least;
  const stated = series.filter((line) => line.y.some((value) => value !== null));
  const [divisor, unit] = timeUnit(most, unitOf(page, page.objective));
  const read = (time) => {
    const lines = runs.flatMap((run) => {
      let k = -1;
      while (k + 1 < run.t.length && run.t[k + 1] <= time) k += 1;
      if (k < 0) return [];
      const by = run.by[k] && run.by[k] !== run.label ? `, by ${run.by[k]}` : "";
      return [`${run.label}: ${worth(page, page.objective, run.value[k])}, bound ${worth(page, page.objective, run.bound[k])}${by}`];
    });
    return { at: time, lines: [`after ${duration(time, "s", 3)}`, ...lines] };
  };
  return lineChart(host, {
    series: stated,
    title: "Best value and proven bound over the time of the search",
    x: { label: `time (s${log ? ", logarithmic" : ""})`, low: log ? first : 0, high: last || 1, log },
    y: { label: `${page.objective} (${unit}${steep ? ", logarithmic" : ""})`, log: steep, divisor },
    height: 280,
    wide: true,
    read,
    values: () => searchTable(page, runs),
  });
}

function searchTable(page, runs) {
  const value = (amount) => worthy(page, page.objective, amount);
  const rows = runs.flatMap((run) => run.t.map((t, k) => [run.label, duration(t, "s", 3), value(run.value[k]), value(run.bound[k]), run.by[k] || DASH]));
  return table([["schedule", true], ["after"], ["best value"], ["bound"], ["found by", true]], rows, { caption: "Each improvement, and what the search came to." });
}

// A search as columns; at its end stands what it came to.
function searchOf({ label, history, facts }, colour) {
  const t = history.map((event) => event.t);
  const end = Math.max(facts.runtime_s ?? 0, t[t.length - 1]);
  return {
    label,
    colour,
    t: [...t, end],
    value: [...history.map((event) => event.value), facts.value],
    bound: [...history.map((event) => event.bound), facts.own_bound],
    by: [...history.map((event) => event.solver), ""],
  };
}

// Speedups of a model's ops, sorted, with the average and the line at 1 (Talos, Fig. 2).
function speedupChart(page, entry, theme, host, pick) {
  const values = entry.speedup;
  const x = values.map((_, k) => k + 1);
  const colour = theme.palette[entry.model % theme.palette.length];
  const nearest = (at) => Math.min(values.length, Math.max(1, Math.round(at))) - 1;
  const read = (at) => {
    const k = nearest(at);
    const op = entry.op[k];
    return { at: k + 1, lines: [page.name(op), page.type(op), `speedup ${number(values[k], 4)}`].filter(Boolean) };
  };
  const slower = values.filter((value) => value < 1).length;
  const title = `${page.models[entry.model].id}: ${count(slower)} of ${count(values.length)} ops below 1`;
  return lineChart(host, {
    series: [{ name: null, colour, x, y: values, points: true }],
    rules: [
      { y: 1, name: "1: as fast on both", colour: "var(--soft)" },
      { y: entry.average, name: `average ${number(entry.average, 4)}, total over total`, colour: "var(--accent)", dash: "7 4" },
    ].filter((rule) => rule.y > 0),
    title,
    x: { label: "ops by speedup", whole: true, low: 1, high: Math.max(2, values.length) },
    y: { label: `speedup of ${entry.other} over ${entry.reference}`, log: true },
    read,
    pick: (at) => pick(entry.op[nearest(at)]),
    values: () => speedupTable(page, entry),
  });
}

function speedupTable(page, { op, speedup }) {
  const rows = op.slice(0, LISTED_OPS).map((i, k) => [page.name(i), page.type(i) || DASH, number(speedup[k], 4)]);
  const rest = op.length - rows.length;
  return table([["op", true], ["type", true], ["speedup"]], rows, { caption: rest > 0 ? `The first ${count(LISTED_OPS)} by speedup; ${count(rest)} have a larger one.` : "By speedup." });
}

function problemSection(page) {
  const { problem } = page;
  const head = terms([
    ["ops", count(problem.ops)],
    ["edges", count(problem.edges)],
    ["models", count(problem.models.length)],
    ["devices", count(page.schedules[0].devices.length)],
    ["objective", `${page.objective}: ${OBJECTIVES[page.objective]}`],
    ["memory rule", problem.memory_rule],
    ["links", problem.links],
    ["time unit", page.unit],
    ["weights", bytes(problem.weights)],
    ["outputs", bytes(problem.outputs)],
    problem.colocated ? ["colocated ops", count(problem.colocated)] : null,
    problem.pinned ? ["pinned ops", count(problem.pinned)] : null,
  ]);
  const kinds = problem.kinds.map((kind) => [`time on ${kind}`]);
  const models = table(
    [["model", true], ["ops"], ["edges"], ["op types"], ["weight"], ["release"], ["weights"], ["outputs"], ...kinds],
    problem.models.map((model) => [
      model.id,
      count(model.ops),
      count(model.edges),
      model.types ? count(model.types) : DASH,
      number(model.weight),
      page.timed(model.release),
      bytes(model.weights),
      bytes(model.outputs),
      ...model.times.map((time) => (time === null ? "not all ops" : page.timed(time))),
    ]),
    { caption: "Models. Time: sum over the ops on the first device of the kind." },
  );
  const content = [node("div", { class: "facts" }, head), models];
  if (problem.routes.length) {
    content.push(
      table([["from", true], ["to", true], ["latency"], ["bandwidth"]], problem.routes.map((route) => [
        route.from,
        route.to,
        route.via ? `over ${route.via}` : page.timed(route.latency),
        route.via ? DASH : route.bandwidth === null ? "unlimited" : `${bytes(route.bandwidth)}/s`,
      ]), { caption: problem.routes_left ? `Links; ${count(problem.routes_left)} more are not listed.` : "Links." }),
    );
  }
  if (problem.description) content.unshift(node("p", {}, problem.description));
  return section("problem", "The problem", content);
}
