// Line charts as SVG: linear or logarithmic, stepped or not, with a reading under the pointer.

class Scale {
  constructor(low, high, from, to, log) {
    Object.assign(this, { low, high, from, to, log });
  }

  at(value) {
    if (this.log && value < this.low) return this.from; // before the start of a logarithmic axis
    const share = this.log
      ? Math.log(value / this.low) / Math.log(this.high / this.low)
      : (value - this.low) / (this.high - this.low);
    return this.from + share * (this.to - this.from);
  }

  // The value at a share (0 to 1) of the way.
  value(share) {
    return this.log ? this.low * (this.high / this.low) ** share : this.low + share * (this.high - this.low);
  }

  marks(wanted) {
    if (!this.log) return ticks(this.low, this.high, wanted);
    const decades = Math.log10(this.high / this.low);
    const within = decades > 3 ? [1] : decades > 1.2 ? [1, 3] : [1, 1.5, 2, 3, 5, 7];
    const found = [];
    for (let power = Math.floor(Math.log10(this.low)); power <= Math.log10(this.high); power += 1) {
      for (const m of within) {
        const value = m * 10 ** power;
        if (value >= this.low * 0.999 && value <= this.high * 1.001) found.push(value);
      }
    }
    const skip = Math.ceil(found.length / (wanted + 2));
    return found.filter((_, k) => k % skip === 0);
  }
}

// series: [{name, colour, x, y, step, dash, points}]; rules: [{y, name, colour, dash}]; `values`
// makes a table of them.
function lineChart(host, { series, rules = [], x, y, height = 220, title, wide = false, read = null, pick = null, values = null }) {
  const figure = node("figure", { class: wide ? "wide" : null });
  host.append(figure);
  const listed = values && unfolded("The values as a table", values);
  const draw = () => {
    const width = Math.max(220, figure.clientWidth || 300);
    figure.replaceChildren();
    if (title) figure.append(node("h3", {}, title));
    const xs = series.flatMap((line) => extremes(line.x));
    const ys = [...series.flatMap((line) => extremes(line.y)), ...rules.map((rule) => rule.y)];
    const [y0, y1] = padded(Math.min(...ys), Math.max(...ys), y.log);
    const [x0, x1] = [x.low ?? Math.min(...xs), x.high ?? Math.max(...xs)];
    const up = new Scale(y0, y1, height - 38, 10, y.log);
    const labels = up.marks(5).map((mark) => number(mark / (y.divisor ?? 1), 4));
    const left = 24 + 7 * Math.max(...labels.map((label) => label.length), 2);
    const across = new Scale(x0, x1 > x0 ? x1 : x0 + 1, left, width - 12, x.log);
    const drawing = svgNode("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": `${title ?? ""}: ${y.label} over ${x.label}` });
    frame(drawing, { across, up, width, height, left, x, y });
    for (const rule of rules) {
      drawing.append(
        svgNode("line", { x1: left, x2: width - 12, y1: up.at(rule.y), y2: up.at(rule.y), stroke: rule.colour, "stroke-width": 1.5, "stroke-dasharray": rule.dash ?? null }),
      );
    }
    for (const line of series) drawing.append(path(line, across, up));
    figure.append(drawing, keys([...series, ...rules]));
    if (listed) figure.append(listed);
    const stops = [...new Set(series.flatMap((line) => line.x))].filter((at) => at >= x0 && at <= x1).sort((a, b) => a - b);
    if (read) reading(figure, drawing, across, { read, pick, height, stops });
  };
  draw();
  return draw;
}

function extremes(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value === null) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : [];
}

function padded(low, high, log) {
  if (log) return low === high ? [low / 1.5, high * 1.5] : [low / 1.15, high * 1.15];
  const margin = (high - low || Math.abs(high) || 1) * 0.08;
  return [Math.max(low - margin, low >= 0 ? 0 : -Infinity), high + margin];
}

function frame(drawing, { across, up, width, height, left, x, y }) {
  const base = height - 38;
  for (const mark of up.marks(5)) {
    const level = up.at(mark);
    drawing.append(svgNode("line", { class: "grid", x1: left, x2: width - 12, y1: level, y2: level }));
    drawing.append(svgNode("text", { x: left - 6, y: level + 4, "text-anchor": "end" }, number(mark / (y.divisor ?? 1), 4)));
  }
  for (const mark of across.marks(Math.floor(width / 80))) {
    if (x.whole && !Number.isInteger(mark)) continue;
    drawing.append(svgNode("text", { x: across.at(mark), y: base + 16, "text-anchor": "middle" }, number(mark, 5)));
  }
  drawing.append(svgNode("line", { class: "axis", x1: left, x2: width - 12, y1: base, y2: base }));
  drawing.append(svgNode("text", { x: (left + width - 12) / 2, y: height - 5, "text-anchor": "middle" }, x.label));
  drawing.append(svgNode("text", { transform: `translate(11 ${(base + 10) / 2}) rotate(-90)`, "text-anchor": "middle" }, y.label));
}

function path(line, across, up) {
  const parts = [];
  let before = null;
  line.x.forEach((value, k) => {
    if (line.y[k] === null) return;
    const [px, py] = [across.at(value).toFixed(1), up.at(line.y[k]).toFixed(1)];
    if (before === null) parts.push(`M${px} ${py}`);
    else parts.push(line.step ? `H${px}V${py}` : `L${px} ${py}`);
    before = py;
  });
  const drawn = svgNode("path", { d: parts.join(""), fill: "none", stroke: line.colour, "stroke-width": 2, "stroke-linejoin": "round", "stroke-dasharray": line.dash ?? null });
  if (!line.points || line.x.length > 80) return drawn;
  const dots = line.x.map((value, k) => (line.y[k] === null ? null : svgNode("circle", { cx: across.at(value), cy: up.at(line.y[k]), r: 3, fill: line.colour })));
  return svgNode("g", {}, drawn, dots);
}

function keys(entries) {
  const named = entries.filter((entry) => entry.name);
  return node(
    "ul",
    { class: "keys" },
    named.map((entry) => node("li", {}, node("i", { class: entry.dash ? "dash" : null, style: { borderTopColor: entry.colour } }), entry.name)),
  );
}

// Something long behind a line that opens it, made when it is opened.
function unfolded(text, make) {
  const made = node("details", {}, node("summary", {}, text));
  made.addEventListener("toggle", () => made.open && made.children.length === 1 && made.append(make()));
  return made;
}

// A line that follows the pointer, or goes from stop to stop by keys, and what `read` says of the
// value there.
function reading(figure, drawing, across, { read, pick, height, stops }) {
  const cursor = svgNode("line", { class: "cursor", y1: 10, y2: height - 38, visibility: "hidden" });
  const note = node("div", { class: "tip", role: "status", hidden: true });
  drawing.append(cursor);
  figure.append(note);
  const label = `${drawing.getAttribute("aria-label")}. The arrow keys read its values.`;
  for (const [name, value] of Object.entries({ role: "application", tabindex: "0", "aria-label": label })) drawing.setAttribute(name, value);
  const valueAt = (event) => {
    const box = drawing.getBoundingClientRect();
    const share = (event.clientX - box.left - across.from) / (across.to - across.from);
    return share < -0.01 || share > 1.01 ? null : across.value(Math.min(1, Math.max(0, share)));
  };
  const tell = (value, y) => {
    const text = value === null ? null : read(value);
    cursor.setAttribute("visibility", text ? "visible" : "hidden");
    note.hidden = !text;
    if (!text) return;
    cursor.setAttribute("x1", across.at(text.at));
    cursor.setAttribute("x2", across.at(text.at));
    note.replaceChildren(...text.lines.map((line) => node("div", {}, line)));
    placeTip(note, figure, { x: across.at(text.at), y });
  };
  const move = (event) => tell(valueAt(event), event.clientY - figure.getBoundingClientRect().top);
  drawing.addEventListener("pointermove", move);
  drawing.addEventListener("pointerdown", move);
  for (const leaving of ["pointerleave", "blur"]) drawing.addEventListener(leaving, () => tell(null));
  let at = -1;
  drawing.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const last = stops.length - 1;
    const goes = { ArrowRight: Math.min(at + 1, last), ArrowLeft: Math.max(at - 1, 0), Home: 0, End: last, Escape: -1 };
    if (event.key === "Enter" && pick && at >= 0) pick(stops[at]);
    else if (event.key in goes) at = goes[event.key];
    else return;
    event.preventDefault();
    tell(stops[at] ?? null, height / 2);
  });
  if (pick) drawing.addEventListener("click", (event) => valueAt(event) !== null && pick(valueAt(event)));
}

// Beside the pointer, and inside its host.
function placeTip(tip, host, { x, y }) {
  const room = host.clientWidth;
  const { offsetWidth: width, offsetHeight: height } = tip;
  const left = x + 14 + width <= room ? x + 14 : Math.max(0, Math.min(x - width - 14, room - width));
  tip.style.left = `${left}px`;
  tip.style.top = `${y + 16 + height > host.clientHeight + 40 && y > height + 12 ? y - height - 12 : y + 16}px`;
}
