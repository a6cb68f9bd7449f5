// Where the time goes: the time of each device in parts, the critical path, and what weighs
// most. The words are those of docs/model.md.

const SHOWN_WAITS = 2;
const FOLDED = 16; // devices that are shown; more are behind a button

function whereSection(page) {
  return page.schedules.some((raw) => raw.where) ? section("where", "Where the time goes", node("div")) : null;
}

// `choose`: what a click on the name of an op does.
function showWhere(plan, host, choose) {
  const { where } = plan;
  if (!where) {
    host.replaceChildren(node("p", { class: "soft" }, "This schedule is not feasible, so nothing is said of its time."));
    return;
  }
  host.replaceChildren(
    node("p", {}, pathSentence(plan)),
    pathBar(plan),
    partLegend(plan),
    ...[deviceBars(plan, choose)].flat(),
    node("div", { class: "pair" }, pathPlaces(plan), pathLongest(plan, choose)),
  );
}

function shareOf(time, whole) {
  const part = whole > 0 ? settled(time, whole) / whole : 0;
  return part === 0 ? "0 %" : part < 0.001 ? "<0.1 %" : `${number(100 * part, part < 0.1 ? 2 : 3)} %`;
}

function pathSentence(plan) {
  const { page, where } = plan;
  const { path } = where;
  const parts = [["computing", path.compute], ["transfers", path.transfer], ["before the release", path.release], ["idle by the order", path.gap]]
    .filter(([, time]) => settled(time, path.end) > 0)
    .map(([name, time]) => `${shareOf(time, path.end)} ${name}`);
  const queue = settled(path.queue, path.end) > 0 ? ` ${shareOf(path.queue, path.end)} of it is spent in a queue for a slot, a link or memory.` : "";
  return `The critical path takes ${page.time(path.end)}: ${parts.join(", ") || "nothing on it takes time"}.${queue}`;
}

// A bar of segments [time, name, colour] over `whole`; what is too short to be seen is left out.
function stacked(page, segments, whole, label) {
  const shown = segments.filter(([time]) => whole > 0 && time > 1e-9 * whole);
  const said = shown.map(([time, name]) => `${name} ${shareOf(time, whole)}`).join(", ");
  return node(
    "div",
    { class: "stack", role: "img", "aria-label": `${label}: ${said || "nothing"}` },
    shown.map(([time, name, colour]) =>
      node("i", {
        class: colour ? null : "none",
        title: `${name}: ${page.time(time)}, ${shareOf(time, whole)} (${time} ${page.unit})`,
        style: { width: `${(100 * time) / whole}%`, background: colour ?? "" },
      }),
    ),
  );
}

// The path by what it does and where; transfers have the colour of waiting for one.
function pathBar(plan) {
  const { page, where } = plan;
  const { path } = where;
  const colour = Object.fromEntries(page.parts.map((part) => [part.key, part.colour]));
  const segments = [
    ...sorted(path.device, 1).map(([d, time]) => [time, `ops on ${plan.devices[d].id}`, colour.compute]),
    ...sorted(path.link, 2).map(([a, b, time]) => [time, `transfers ${linkName(plan, a, b)}`, colour.arrival]),
    [path.release, "before the release", colour.release],
    [path.gap, "idle by the order", colour.order],
  ];
  return node("div", { class: "bars" }, barRow("critical path", stacked(page, segments, path.end, "critical path"), page.timed(path.end)));
}

function barRow(name, bar, value, note = null) {
  return node("div", { class: "row" }, node("b", { title: name }, name), bar, node("span", { class: "value" }, value), note ? node("span", { class: "note" }, note) : null);
}

function sorted(rows, key) {
  return [...rows].sort((a, b) => b[key] - a[key]);
}

function linkName(plan, a, b) {
  return `${plan.devices[a].id} \u2192 ${plan.devices[b].id}`;
}

function partLegend(plan) {
  const { page, where } = plan;
  const used = page.parts.filter((_, k) => where.devices.some((device) => device.parts[k] > 1e-9 * where.span));
  return node("div", { class: "legend" }, used.map((part) => node("span", { class: "key" }, node("i", { class: part.colour ? "swatch" : "swatch none", style: { background: part.colour ?? "" } }), part.name)));
}

function deviceBars(plan, choose) {
  const { page, where } = plan;
  const row = (device, d) => {
    const segments = device.parts.map((time, k) => [time, page.parts[k].name, page.parts[k].colour]);
    const busy = device.parts[0] + device.parts[1];
    const note = device.waits.filter(([, time]) => time > 1e-3 * where.span).slice(0, SHOWN_WAITS).flatMap((wait, k) => [k ? "; " : "longest waits: ", waitText(plan, wait, choose)]);
    const { id } = plan.devices[d];
    return barRow(id, stacked(page, segments, where.span, id), `busy ${shareOf(busy, where.span)}`, note.length ? note : null);
  };
  const idle = where.devices.map((device) => settled(device.parts[0] + device.parts[1], where.span) === 0);
  const rows = where.devices.map((device, d) => (idle[d] ? null : row(device, d))).filter(Boolean);
  const host = node("div", { class: "bars" }, rows.slice(0, FOLDED));
  if (rows.length > FOLDED) {
    const more = node("button", { type: "button" }, `Show ${rows.length - FOLDED} more devices`);
    more.addEventListener("click", () => more.replaceWith(...rows.slice(FOLDED)));
    host.append(more);
  }
  const unused = plan.devices.filter((_, d) => idle[d]).map((device) => device.id);
  if (unused.length === 0) return host;
  const rest = unused.length > 8 ? ` and ${count(unused.length - 8)} more` : "";
  return [host, node("p", { class: "soft" }, `No time is spent on ${unused.slice(0, 8).join(", ")}${rest}.`)];
}

function waitText(plan, [, time, op, transfer], choose) {
  const over = transfer < 0 ? "" : ` over ${linkName(plan, plan.transfer.source[transfer], plan.transfer.target[transfer])}`;
  return [opLink(plan, op, choose), `${over}, ${plan.page.time(time)}`];
}

function opLink(plan, op, choose) {
  return node("button", { type: "button", class: "link", on: { click: () => choose(op) } }, node("bdi", {}, breakable(plan.page.name(op))));
}

function pathPlaces(plan) {
  const { page, where } = plan;
  const { path } = where;
  const rows = [
    ...path.device.map(([d, time]) => [`ops on ${plan.devices[d].id}`, time]),
    ...path.link.map(([a, b, time]) => [`transfers ${linkName(plan, a, b)}`, time]),
  ];
  const top = sorted(rows, 1).slice(0, 10).map(([name, time]) => [name, page.timed(time), shareOf(time, path.end)]);
  const caption = `Critical path by place: ${counted(path.ops, "op")} and ${counted(path.transfers, "transfer")}.`;
  return table([["where", true], ["time"], ["share"]], top, { caption });
}

function pathLongest(plan, choose) {
  const { page, where, transfer } = plan;
  const rows = where.path.longest.map(([op, row, time, cause]) => [
    opLink(plan, op, choose),
    row < 0 ? plan.devices[plan.op.device[op]].id : linkName(plan, transfer.source[row], transfer.target[row]),
    page.timed(time),
    page.causes[cause],
  ]);
  return table([["op", true], ["where", true], ["time"], ["waited for", true]], rows, { caption: "Longest on the critical path." });
}

// What single changes would be worth; of the page's best schedule, whichever is shown.
function changeSection(page) {
  const { changes } = page;
  const value = (amount) => worthy(page, page.objective, amount);
  const most = Math.max(0, ...changes.changes.map((item) => item.gain_share ?? 0));
  const rows = changes.changes.map((item) => [
    item.change,
    item.why,
    value(item.before),
    value(item.value),
    value(item.lower_bound),
    value(item.gain),
    share(item.gain_share ?? 0, most, percent(item.gain_share)),
  ]);
  const said =
    `Each change alone, searched for ${duration(changes.seconds, "s")} from the best schedule here; more time may gain more. As it is, the same search reaches ` +
    `${worth(page, page.objective, changes.value)}; the bound is ${worth(page, page.objective, changes.lower_bound)}.`;
  const headings = [["change", true], ["what speaks for it", true], ["before"], ["after"], ["bound"], ["gain"], ["share"]];
  const none = [node("p", {}, said), node("p", { class: "soft" }, "This schedule suggests no change.")];
  return section("changes", "What would help", rows.length ? table(headings, rows, { caption: said }) : none);
}

// ---- when models are done, and what weighs most ----------------------------------------------

function weightSection(page) {
  return page.schedules.some((raw) => raw.where?.models) ? section("weights", "Models done, and what weighs most", node("div")) : null;
}

function showWeights(plan, host, choose) {
  const { where } = plan;
  host.replaceChildren();
  if (!where?.models) return;
  const parts = [doneTable(plan), node("div", { class: "pair" }, typeTable(plan), movedTable(plan, choose)), peakTable(plan, choose)];
  host.append(...parts.flat().filter(Boolean));
}

function doneTable(plan) {
  const { page, where } = plan;
  const rows = where.models
    .map((model, j) => [model, j])
    .sort(([a], [b]) => b.share - a.share || b.done - a.done)
    .map(([model, j]) => [
      node("bdi", {}, page.models[j].id),
      number(model.weight),
      page.momentOf(model.done, where.span),
      share(model.share, 1, percent(model.share)),
      model.slack === null ? "any" : page.timed(settled(model.slack, where.span)),
      page.momentOf(model.bound, where.span),
    ]);
  const caption = "Share: of toct, weight times completion. Slack: how much later its last op may start before the objective grows. Not before: no schedule completes it sooner.";
  return table([["model", true], ["weight"], ["done"], ["share"], ["slack"], ["not before"]], rows, { caption });
}

function typeTable(plan) {
  const { page, where } = plan;
  const rows = where.types.map(([type, ops, time]) => [type || "(no type)", count(ops), page.timed(time), shareOf(time, where.computed)]);
  return table([["op type", true], ["ops"], ["time"], ["share"]], rows, { caption: "Op types by time, over all devices." });
}

function movedTable(plan, choose) {
  const { page, where } = plan;
  if (where.moved.length === 0) return null;
  const rows = where.moved.map(([op, hops, size, time]) => [opLink(plan, op, choose), count(hops), bytes(size), page.timed(time)]);
  return table([["output of", true], ["hops"], ["bytes"], ["time"]], rows, { caption: "Tensors that moved most bytes." });
}

// What each device holds at its peak; of many devices, those that hold most first and the others behind
// a line that opens them.
function peakTable(plan, choose) {
  const { page, where } = plan;
  const used = where.peaks.flatMap((peak, d) => (peak.holds.length ? [d] : []));
  if (used.length === 0) return null;
  const most = new Set([...used].sort((a, b) => where.peaks[b].bytes - where.peaks[a].bytes).slice(0, FOLDED));
  const rest = used.filter((d) => !most.has(d));
  const caption = `What holds most memory at ${rest.length ? `the peak of the ${FOLDED} devices that hold most` : "each device's peak"}${page.static_rule ? ", by the memory rule static." : "."}`;
  const all = (devices, said) => peaksTable(plan, devices, said, choose);
  return [all(used.filter((d) => most.has(d)), caption), rest.length ? unfolded(`The other ${counted(rest.length, "device")}`, () => all(rest, "What holds most memory at their peaks.")) : null];
}

function peaksTable(plan, devices, caption, choose) {
  const { page, where } = plan;
  const timed = where.peaks.some((peak) => peak.time !== null);
  const rows = devices.flatMap((d) => {
    const peak = where.peaks[d];
    const holds = peak.holds.slice(0, 4);
    // What is said of the device stands once, beside all that it holds.
    const once = (k, cell) => (k ? COVERED : cell);
    const whole = (content) => node("td", { rowspan: holds.length }, content);
    return holds.map(([what, op, output, size], k) => [
      once(k, node("th", { scope: "rowgroup", rowspan: holds.length, class: "left" }, breakable(plan.devices[d].id))),
      ...(timed ? [once(k, whole(peak.time === null ? DASH : page.momentOf(peak.time, where.span)))] : []),
      once(k, whole(bytes(peak.bytes))),
      what,
      [opLink(plan, op, choose), output ? ` ${output}` : ""],
      bytes(size),
    ]);
  });
  return table([["device", true], ...(timed ? [["when"]] : []), ["held"], ["largest", true], ["of", true], ["bytes"]], rows, { caption });
}
