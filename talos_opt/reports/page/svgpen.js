// A pen that writes SVG: it takes what the charts say to a canvas, so that both draw the same.

class SvgPen {
  // `measure`: a canvas's pen, which knows how wide texts are; `name`: that no other pen of the
  // file has.
  constructor(measure, name) {
    Object.assign(this, { measure, name });
    this.globalAlpha = 1;
    this.lineWidth = 1;
    this.fillStyle = this.strokeStyle = "#000000";
    this.font = "12px sans-serif";
    this.dash = [];
    this.root = svgNode("g");
    this.at = this.root;
    this.defs = svgNode("defs");
    this.open = []; // groups around this one, for restore
    this.hatches = new Map();
    this.path = "";
    this.shift = 0;
  }

  // ---- what charts ask of a canvas --------------------------------------------------------

  setTransform() {}

  clearRect() {}

  setLineDash(dashes) {
    this.dash = dashes;
  }

  getLineDash() {
    return this.dash;
  }

  measureText(text) {
    this.measure.font = this.font;
    return this.measure.measureText(text);
  }

  save() {
    this.open.push(this.at);
  }

  restore() {
    this.at = this.open.pop();
  }

  beginPath() {
    this.path = "";
    this.box = null;
  }

  moveTo(x, y) {
    this.path += `M${short(x)} ${short(y)}`;
  }

  lineTo(x, y) {
    this.path += `L${short(x)} ${short(y)}`;
  }

  bezierCurveTo(...points) {
    this.path += `C${points.map(short).join(" ")}`;
  }

  rect(x, y, width, height) {
    this.box = { x: short(x), y: short(y), width: short(width), height: short(height) };
  }

  // What follows, until it is restored, is seen inside the box alone.
  clip() {
    const id = `${this.name}-clip-${this.defs.childNodes.length}`;
    this.defs.append(svgNode("clipPath", { id }, svgNode("rect", this.box)));
    const group = svgNode("g", { "clip-path": `url(#${id})` });
    this.at.append(group);
    this.at = group;
  }

  stroke() {
    this.#add("path", { d: this.path, fill: "none", ...this.#line() });
  }

  fill() {
    this.#add("path", { d: `${this.path}Z`, ...this.#paint() });
  }

  fillRect(x, y, width, height) {
    if (!(width > 0 && height > 0)) return;
    this.#add("rect", { x: short(x), y: short(y), width: short(width), height: short(height), ...this.#paint() });
  }

  strokeRect(x, y, width, height) {
    this.#add("rect", { x: short(x), y: short(y), width: short(Math.max(0, width)), height: short(Math.max(0, height)), fill: "none", ...this.#line() });
  }

  // Text is text, so that it can be searched and read aloud.
  fillText(text, x, y) {
    if (!text) return;
    const [, weight, size] = this.font.match(/^(?:(\d+) )?([\d.]+)px/);
    this.#add("text", { x: short(x), y: short(y), "font-size": size, "font-weight": weight ?? null, "dominant-baseline": "central", ...this.#paint() }, text);
  }

  // Lines on a colour, as the theme asks for them.
  stripes({ colour, width, gap, turn }) {
    const key = `${colour} ${gap} ${turn}`;
    if (!this.hatches.has(key)) {
      const id = `${this.name}-hatch-${this.hatches.size}`;
      const size = 2 * width;
      const lines = [turn !== 2 ? `M-1 ${size + 1}L${size + 1} -1` : "", turn !== 1 ? `M-1 -1L${size + 1} ${size + 1}` : ""].join("");
      this.defs.append(
        svgNode("pattern", { id, width: size, height: size, patternUnits: "userSpaceOnUse" },
          svgNode("rect", { width: size, height: size, fill: colour }),
          svgNode("path", { d: lines, stroke: gap, "stroke-width": 1.2 })),
      );
      this.hatches.set(key, `url(#${id})`);
    }
    return this.hatches.get(key);
  }

  #paint() {
    return { fill: this.fillStyle, opacity: this.globalAlpha < 1 ? short(this.globalAlpha) : null };
  }

  #line() {
    return {
      stroke: this.strokeStyle,
      "stroke-width": this.lineWidth,
      "stroke-dasharray": this.dash.length ? this.dash.join(" ") : null,
      opacity: this.globalAlpha < 1 ? short(this.globalAlpha) : null,
    };
  }

  #add(tag, attributes, ...children) {
    this.at.append(svgNode(tag, attributes, ...children));
  }
}

function short(value) {
  return Number(value.toFixed(2));
}

// Charts below each other as one SVG file: each with its heading, the legend at the end.
function svgFile({ title, description, charts, legend, theme }) {
  const width = Math.max(...charts.map(({ chart }) => chart.width)) + 24;
  const parts = [];
  const defs = svgNode("defs");
  const label = (text, x, y, more = {}) => svgNode("text", { x, y, "font-size": 12, fill: theme.text, ...more }, text);
  let y = 44;
  charts.forEach(({ chart, heading }, k) => {
    if (heading) parts.push(label(heading, 12, (y += 14), { "font-weight": 600 }));
    const pen = new SvgPen(chart.pen, `chart-${k}`);
    chart.drawWith(pen);
    defs.append(...pen.defs.childNodes);
    pen.root.setAttribute("transform", `translate(12 ${y + 6})`);
    parts.push(pen.root);
    y += chart.height + 12;
  });
  const pen = new SvgPen(charts[0].chart.pen, "legend");
  let x = 12;
  for (const { name, fill, stroke = null } of legend) {
    const wide = 36 + pen.measureText(name).width;
    if (x + wide > width - 12 && x > 12) [x, y] = [12, y + 20];
    parts.push(svgNode("rect", { x, y: y + 2, width: 14, height: 14, rx: 3, fill: fill(pen), stroke, "stroke-width": stroke && 2 }), label(name, x + 20, y + 13));
    x += wide;
  }
  defs.append(...pen.defs.childNodes);
  const height = Math.ceil(y + 30);
  const drawing = svgNode(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-labelledby": "title desc", "font-family": "system-ui, sans-serif" },
    svgNode("title", { id: "title" }, title),
    svgNode("desc", { id: "desc" }, description),
    defs,
    svgNode("rect", { width, height, fill: theme.card }),
    label(title, 12, 26, { "font-size": 16, "font-weight": 600 }),
    parts,
  );
  return new XMLSerializer().serializeToString(drawing);
}

function download(blob, name) {
  const address = URL.createObjectURL(blob);
  node("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}
