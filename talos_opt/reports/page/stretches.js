// Stretches of time that a reader chooses: a range with totals, a mark that stays, a box to zoom to.

// The ground of the range, behind the bars, whose colours it leaves as they are.
function drawRangeGround(chart) {
  const { range } = chart.look;
  if (range) drawStretch(chart, range, chart.theme.accent, { fill: 0.14 });
}

// On a chart: the ends of the range and of the mark, with their lengths above the lanes.
function drawStretches(chart) {
  const { pen, theme, look } = chart;
  if (look.range) {
    drawStretch(chart, look.range, theme.accent, {});
    tellLength(chart, look.range, theme.accent);
  }
  if (look.mark) {
    drawStretch(chart, look.mark, theme.critical, { dashes: [5, 3] });
    tellLength(chart, look.mark, theme.critical, "mark: ");
  }
  if (look.box) drawStretch(chart, look.box, theme.accent, { fill: 0.08, dashes: [3, 3] });
  pen.setLineDash([]);
}

function drawStretch(chart, { from, to }, colour, { fill = 0, dashes = [] }) {
  const { pen, left, plotWidth, height } = chart;
  const inside = (x) => Math.min(Math.max(x, left - 2), left + plotWidth + 2);
  const [start, end] = [inside(chart.x(from)), inside(chart.x(to))];
  pen.fillStyle = pen.strokeStyle = colour;
  pen.globalAlpha = fill;
  if (fill && end > start) pen.fillRect(start, AXIS, end - start, height - AXIS);
  pen.globalAlpha = 1;
  pen.lineWidth = 1.5;
  pen.setLineDash(dashes);
  for (const x of [start, end]) {
    if (x < left || x > left + plotWidth) continue;
    pen.beginPath();
    pen.moveTo(x, AXIS - 8);
    pen.lineTo(x, height);
    pen.stroke();
  }
  pen.setLineDash([]);
}

function tellLength(chart, { from, to }, colour, before = "") {
  const { pen, theme, left, plotWidth, page } = chart;
  const text = `${before}${page.time(to - from)}`;
  pen.font = "600 11px system-ui, sans-serif";
  pen.textBaseline = "middle";
  const width = pen.measureText(text).width + 10;
  const middle = chart.x((from + to) / 2);
  if (chart.x(to) < left || chart.x(from) > left + plotWidth) return;
  const x = Math.min(Math.max(middle - width / 2, left), left + plotWidth - width);
  pen.fillStyle = theme.card;
  pen.fillRect(x, 2, width, AXIS - 6);
  pen.strokeStyle = colour;
  pen.lineWidth = 1;
  pen.strokeRect(x + 0.5, 2.5, width - 1, AXIS - 7);
  pen.fillStyle = colour;
  pen.fillText(text, x + 5, AXIS / 2 - 1);
}

// How long two stretches of time overlap; what takes no time counts where it lies inside.
function shared(start, end, from, to) {
  return Math.max(0, Math.min(end, to) - Math.max(start, from));
}

// What a schedule does in a range: by device, op type and model. Busy time is the mean over the
// slots of a device; of a transfer the bytes that its share of the time stands for.
function totalsOf(plan, { from, to }) {
  const { page, op, transfer } = plan;
  const devices = plan.devices.map(() => ({ ops: 0, busy: 0, in: 0, out: 0 }));
  const types = new Map();
  const models = new Map();
  const of = (table, key) => table.get(key) ?? table.set(key, { ops: 0, time: 0, bytes: 0 }).get(key);
  for (let i = 0; i < plan.size; i += 1) {
    if (op.end[i] < from || op.start[i] > to) continue;
    const time = shared(op.start[i], op.end[i], from, to);
    if (time === 0 && op.end[i] > op.start[i]) continue; // it only touches the range
    devices[op.device[i]].ops += 1;
    for (const row of [of(types, page.ops.type[i]), of(models, page.ops.model[i])]) {
      row.ops += 1;
      row.time += time;
    }
  }
  for (let k = 0; k < transfer.start.length; k += 1) {
    const length = transfer.end[k] - transfer.start[k];
    const inside = transfer.start[k] >= from && transfer.start[k] <= to;
    const part = length > 0 ? shared(transfer.start[k], transfer.end[k], from, to) / length : Number(inside);
    if (part === 0) continue;
    const moved = part * transfer.bytes[k];
    devices[transfer.source[k]].out += moved;
    devices[transfer.target[k]].in += moved;
    of(types, page.ops.type[transfer.op[k]]).bytes += moved;
    of(models, page.ops.model[transfer.op[k]]).bytes += moved;
  }
  devices.forEach((row, d) => {
    const lanes = plan.lanesOf[d];
    let busy = 0;
    for (const lane of lanes) {
      const bars = plan.bars[lane];
      for (let k = plan.firstEnding(lane, from); k < bars.length && bars[k].start < to; k += 1) busy += shared(bars[k].start, bars[k].end, from, to);
    }
    row.busy = busy / Math.max(plan.slotsOf(d), 1);
  });
  return { devices, types, models };
}

// Rows that a table of totals has at most.
const TOTALS = 16;

// Devices, or kinds of them where they are folded: their ops and bytes are added up, and the time
// that they are busy is the mean.
function deviceTotals(plan, devices, folded) {
  const rows = new Map();
  const groups = new Map(groupsOf(plan, plan.page.folding).flatMap((group) => (folded.has(group.kind) ? group.devices.map((d) => [d, group.name]) : [])));
  devices.forEach((row, d) => {
    const name = groups.get(d) ?? plan.devices[d].id;
    const all = rows.get(name) ?? { name, devices: 0, ops: 0, busy: 0, in: 0, out: 0 };
    all.devices += 1;
    for (const key of ["ops", "busy", "in", "out"]) all[key] += row[key];
    rows.set(name, all);
  });
  return [...rows.values()].map((row) => ({ ...row, busy: row.busy / row.devices })).filter((row) => row.ops || row.busy > 0 || row.in || row.out);
}

// A sum with the digits that a reader compares; all of them are under the pointer.
function briefly(page, time) {
  return exactly(duration(time, page.unit, 4), time, page.unit);
}

function leftOut(rows) {
  return rows.length > TOTALS ? `; ${counted(rows.length - TOTALS, "row")} with less time left out` : "";
}

// The tables of a range, for one schedule.
function totalsTables(plan, range, folded) {
  const { page } = plan;
  const { devices, types, models } = totalsOf(plan, range);
  const span = range.to - range.from;
  const used = deviceTotals(plan, devices, folded);
  const most = new Set([...used].sort((a, b) => b.busy - a.busy).slice(0, TOTALS));
  const byDevice = used
    .filter((row) => most.has(row))
    .map((row) => [row.name, count(row.ops), briefly(page, row.busy), shareOf(row.busy, span), bytes(Math.round(row.in)), bytes(Math.round(row.out))]);
  const headings = [["device", true], ["ops"], ["busy"], ["share"], ["in"], ["out"]];
  const caption = `By device. Busy: the mean over slots; in, out: what is moved${leftOut(used)}.`;
  const made = [table(headings, byDevice, { caption })];
  const named = [["op type", types, (t) => page.ops.types[t] || "(no type)"], ["model", models, (j) => page.models[j].id]];
  for (const [what, rows, name] of named) {
    const sorted = [...rows].sort(([, a], [, b]) => b.time - a.time || b.bytes - a.bytes);
    const shown = sorted.slice(0, TOTALS).map(([key, row]) => [node("bdi", {}, name(key)), count(row.ops), briefly(page, row.time), bytes(Math.round(row.bytes))]);
    made.push(table([[what, true], ["ops"], ["time"], ["moved"]], shown, { caption: `By ${what}${leftOut(sorted)}.` }));
  }
  return node("div", { class: "totals" }, made);
}

// The panel of a range: its totals in each schedule that is shown.
function rangePanel(page, range, plans, folded, { zoom, mark, close }) {
  const button = (text, act) => node("button", { type: "button", on: { click: act } }, text);
  const span = range.to - range.from;
  const title = node("span", {}, `${moment(range.from, page.unit, span)} to ${moment(range.to, page.unit, span)}: ${page.time(span)}`);
  const buttons = node("span", { class: "zoom" }, button("Zoom", zoom), button("Mark", mark), button("Close", close));
  const tables = plans.map((plan) => [plans.length > 1 ? node("h4", {}, plan.label) : null, totalsTables(plan, range, folded)]);
  return [node("h3", {}, title, buttons), tables];
}
