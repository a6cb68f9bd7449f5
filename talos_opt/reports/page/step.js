// A step of micro-batches: a row for each stage, a box for each block, as pipelines are drawn.

const STAGE_ROW = 26;
const PHASE_NAMES = ["forward", "backward", "update"];

function stepSection(page) {
  return page.schedules.some((raw) => raw.step) ? section("step", "Step", node("div")) : null;
}

// What is said of a step, and its chart; drawn again when the width or the theme changes.
function showStep(plan, theme, host) {
  const { page, step } = plan;
  host.replaceChildren();
  if (!step) {
    host.append(node("p", { class: "soft" }, "This placement forms no pipeline."));
    return () => {};
  }
  const said = `${step.schedule}, ${count(step.microbatches)} micro-batches: ${page.time(step.time)}, ${percent(step.bubble)} of the stages' time idle.`;
  const legend = PHASE_NAMES.filter((_, phase) => step.blocks.phase.includes(phase));
  const keys = legend.map((name) =>
    node("span", { class: "key" }, node("i", { class: "swatch", style: { background: phaseColour(theme, PHASE_NAMES.indexOf(name)) } }), name),
  );
  const figure = node("figure", { class: "wide" });
  host.append(node("p", {}, said), node("p", { class: "legend" }, keys), figure, unfolded("The blocks as a table", () => blockTable(plan)));
  const draw = () => drawStep(plan, theme, figure);
  draw();
  return draw;
}

function blockTable({ page, step, devices }) {
  const { device, phase, microbatch, start, end } = step.blocks;
  const order = start.map((_, k) => k).sort((a, b) => start[a] - start[b] || device[a] - device[b]).slice(0, LISTED_OPS);
  const rows = order.map((k) => [
    PHASE_NAMES[phase[k]],
    microbatch[k] < 0 ? DASH : String(microbatch[k] + 1),
    devices[device[k]].id,
    page.moment(start[k], end[k] - start[k]),
    page.moment(end[k], end[k] - start[k]),
  ]);
  const rest = start.length - rows.length;
  const caption = rest > 0 ? `The first ${count(LISTED_OPS)} blocks by start; there are ${count(rest)} more.` : "By start.";
  return table([["block", true], ["micro-batch"], ["device", true], ["start"], ["end"]], rows, { caption });
}

// Number of the colour of each phase in the palette.
const PHASE_COLOURS = [0, 1, 6];

function phaseColour(theme, phase) {
  return theme.palette[PHASE_COLOURS[phase]];
}

function drawStep(plan, theme, figure) {
  const { page, step } = plan;
  const width = Math.max(220, figure.clientWidth || 300);
  const left = width < 560 ? 78 : 132;
  const top = 22;
  const height = top + step.stages.length * STAGE_ROW + 6;
  const across = new Scale(0, step.time > 0 ? step.time : 1, left, width - 12, false);
  const drawing = svgNode("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": `${step.schedule} of ${step.microbatches} micro-batches` });
  const [divisor, unit] = timeUnit(step.time, page.unit);
  for (const mark of across.marks(Math.max(2, Math.floor(width / 110)))) {
    const x = across.at(mark);
    drawing.append(
      svgNode("line", { x1: x, x2: x, y1: top - 4, y2: height, stroke: "var(--grid)" }),
      svgNode("text", { x, y: 12, "text-anchor": "middle", "font-size": 11, fill: "var(--soft)" }, number(mark / divisor, 5)),
    );
  }
  drawing.append(svgNode("text", { x: 0, y: 12, "font-size": 11, fill: "var(--soft)" }, `time (${unit})`));
  step.stages.forEach((device, row) => {
    const y = top + row * STAGE_ROW;
    drawing.append(svgNode("text", { x: 0, y: y + 16, "font-size": 12, fill: "var(--text)" }, shortened(plan.devices[device].id, left)));
  });
  const rows = new Map(step.stages.map((device, row) => [device, row]));
  const { device, phase, microbatch, start, end } = step.blocks;
  for (let k = 0; k < device.length; k += 1) {
    const x = across.at(start[k]);
    const wide = Math.max(0.5, across.at(end[k]) - x);
    const y = top + rows.get(device[k]) * STAGE_ROW + 2;
    const which = microbatch[k] < 0 ? "" : ` of micro-batch ${microbatch[k] + 1}`;
    const told = `${PHASE_NAMES[phase[k]]}${which} on ${plan.devices[device[k]].id}: ${page.time(start[k])} to ${page.time(end[k])}`;
    const box = { x, y, width: wide, height: STAGE_ROW - 4, fill: phaseColour(theme, phase[k]), stroke: wide > 4 ? "var(--page)" : null };
    drawing.append(svgNode("rect", box, svgNode("title", {}, told)));
    const label = String(microbatch[k] + 1);
    if (microbatch[k] >= 0 && wide > 7 * label.length + 3) {
      const middle = { x: x + wide / 2, y: y + 15, "text-anchor": "middle", "font-size": 11, style: { fill: theme.inkOn(PHASE_COLOURS[phase[k]]), pointerEvents: "none" } };
      drawing.append(svgNode("text", middle, label));
    }
  }
  figure.replaceChildren(drawing);
}

function shortened(text, room) {
  const most = Math.floor(room / 7.5);
  return text.length <= most ? text : `${text.slice(0, most - 1)}\u2026`;
}
