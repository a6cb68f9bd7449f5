// A canvas that shows the stretch of time of a timeline, beside a margin for labels.

class TimeChart {
  constructor(canvas, timeline, theme, page) {
    Object.assign(this, { canvas, timeline, theme, page, left: 0, plotWidth: 1, width: 0, height: 0 });
    this.pen = canvas.getContext("2d");
  }

  // Take the width of the page, and the height that the content needs.
  fit(height) {
    const { canvas, scale } = this;
    this.width = canvas.parentElement.clientWidth;
    this.height = height;
    this.left = this.narrow ? 78 : 132;
    this.plotWidth = Math.max(40, this.width - this.left - 10);
    canvas.width = Math.round(this.width * scale);
    canvas.height = Math.round(height * scale);
    canvas.style.height = `${height}px`;
  }

  get fits() {
    return this.width === this.canvas.parentElement.clientWidth;
  }

  // Dots for each pixel; printers have more of them than screens.
  get scale() {
    return Math.max(window.devicePixelRatio || 1, this.theme.printing ? 3 : 0);
  }

  get narrow() {
    return this.width < 560;
  }

  clear() {
    const { pen, scale, theme } = this;
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, this.width, this.height);
    if (!theme.printing) return;
    // What is transparent would be blended with black at its edges.
    pen.fillStyle = theme.card;
    pen.fillRect(0, 0, this.width, this.height);
  }

  // The same with another pen, such as one that writes a file.
  drawWith(pen) {
    const own = this.pen;
    this.pen = pen;
    this.draw();
    this.pen = own;
  }

  x(time) {
    return this.left + ((time - this.timeline.from) / this.timeline.span) * this.plotWidth;
  }

  timeAt(x) {
    return this.timeline.from + ((x - this.left) / this.plotWidth) * this.timeline.span;
  }

  covers(x) {
    return x >= this.left && x <= this.left + this.plotWidth;
  }

  // Grid lines at round times, from `top` down; above them the times, where there is room.
  drawAxis(top) {
    const { pen, left, plotWidth, theme, timeline } = this;
    const marks = ticks(timeline.from, timeline.to, Math.max(2, Math.floor(plotWidth / 90)), 3);
    const step = marks[1] - marks[0] || timeline.span;
    const [divisor, unit] = timeUnit(timeline.to, this.page.unit);
    // Of the last mark, so that it differs from the one before it.
    const digits = Math.max(4, 2 + magnitude(timeline.to) - magnitude(step));
    const labelled = top >= 12;
    pen.font = "11px system-ui, sans-serif";
    pen.textBaseline = "middle";
    pen.strokeStyle = theme.grid;
    pen.fillStyle = theme.soft;
    pen.lineWidth = 1;
    for (const mark of marks) {
      const x = Math.round(this.x(mark)) + 0.5;
      pen.beginPath();
      pen.moveTo(x, top - 4);
      pen.lineTo(x, this.height);
      pen.stroke();
      if (!labelled) continue;
      const text = number(mark / divisor, Math.min(12, digits));
      const half = pen.measureText(text).width / 2;
      pen.fillText(text, Math.max(left - 2, Math.min(x - half, left + plotWidth + 8 - 2 * half)), top / 2);
    }
    if (labelled) pen.fillText(`time (${unit})`, 0, top / 2);
  }
}

// The front of a text, as much as fits.
function clipped(pen, text, room) {
  if (pen.measureText(text).width <= room) return text;
  let [low, high] = [0, text.length];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (pen.measureText(`${text.slice(0, middle)}\u2026`).width <= room) low = middle;
    else high = middle - 1;
  }
  return low > 0 ? `${text.slice(0, low)}\u2026` : "";
}
