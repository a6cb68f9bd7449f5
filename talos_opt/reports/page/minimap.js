// The whole time in little, with the stretch that is shown: to see where one is, and to move there.

const MINIMAP = 34;
const GRIP = 6; // pixels beside an edge of the window that take hold of it

class Minimap {
  constructor(timeline, theme) {
    Object.assign(this, { timeline, theme, plan: null });
    const label = "The whole schedule in little: arrows move the stretch that is shown, plus and minus zoom";
    this.canvas = node("canvas", { id: "minimap", tabindex: "0", role: "application", "aria-label": label });
    this.element = node("div", { class: "plot minimap" }, this.canvas);
    this.chart = new TimeChart(this.canvas, timeline, theme, null);
    this.canvas.addEventListener("keydown", (event) => steerByKey(event, timeline));
    this.#listen();
  }

  show(plan) {
    this.plan = plan;
    this.layOut();
  }

  layOut() {
    if (!this.plan) return;
    this.chart.fit(MINIMAP);
    this.busy = this.#rows();
    this.draw();
  }

  // How busy each device, or each kind where they are many, is in each pixel column.
  #rows() {
    const { plan, chart } = this;
    const kinds = plan.devices.length > MINIMAP / 3;
    const keys = plan.devices.map((device, d) => (kinds ? device.kind : d));
    const columns = Math.ceil(chart.plotWidth);
    return [...new Set(keys)].map((key) => {
      const sums = new Float32Array(columns);
      const slots = keys.reduce((sum, other, d) => sum + (other === key ? plan.slotsOf(d) : 0), 0);
      plan.lanes.forEach((lane, l) => {
        if (lane.link || keys[lane.device] !== key) return;
        for (const bar of plan.bars[l]) {
          const from = (bar.start / this.timeline.horizon) * chart.plotWidth;
          const to = Math.min(columns, (bar.end / this.timeline.horizon) * chart.plotWidth);
          for (let c = Math.floor(from); c < to; c += 1) sums[c] += Math.min(to, c + 1) - Math.max(from, c);
        }
      });
      return sums.map((sum) => Math.min(1, sum / slots));
    });
  }

  x(time) {
    return this.chart.left + (time / this.timeline.horizon) * this.chart.plotWidth;
  }

  timeAt(x) {
    return ((x - this.chart.left) / this.chart.plotWidth) * this.timeline.horizon;
  }

  draw() {
    if (!this.plan) return;
    const { chart, theme, timeline, busy } = this;
    const { pen, left, plotWidth } = chart;
    chart.clear();
    pen.textBaseline = "middle";
    pen.font = "11px system-ui, sans-serif";
    pen.fillStyle = theme.soft;
    pen.fillText("overview", 0, MINIMAP / 2);
    pen.fillStyle = theme.lane;
    pen.fillRect(left, 0, plotWidth, MINIMAP);
    const high = (MINIMAP - 4) / busy.length;
    pen.fillStyle = theme.curve;
    busy.forEach((sums, r) => {
      sums.forEach((share, c) => {
        if (share === 0) return;
        pen.globalAlpha = 0.25 + 0.75 * share;
        pen.fillRect(left + c, 2 + r * high, 1, Math.max(1, high - 1));
      });
    });
    const [from, to] = [this.x(timeline.from), Math.max(this.x(timeline.to), this.x(timeline.from) + 2)];
    pen.globalAlpha = 0.7;
    pen.fillStyle = theme.card;
    pen.fillRect(left, 0, from - left, MINIMAP);
    pen.fillRect(to, 0, left + plotWidth - to, MINIMAP);
    pen.globalAlpha = 1;
    pen.strokeStyle = theme.accent;
    pen.lineWidth = 2;
    pen.strokeRect(from + 1, 1, Math.max(1, to - from - 2), MINIMAP - 2);
  }

  // Dragging the window moves it, dragging an edge widens it; elsewhere a press brings it there.
  #listen() {
    const { canvas, timeline } = this;
    let held = null;
    const place = (event) => event.clientX - canvas.getBoundingClientRect().left;
    const edgeAt = (x) => ["from", "to"].find((edge) => Math.abs(x - this.x(timeline[edge])) <= GRIP) ?? null;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      const x = place(event);
      canvas.setPointerCapture(event.pointerId);
      const time = this.timeAt(x);
      const edge = timeline.whole ? null : edgeAt(x);
      if (edge) held = { edge };
      else if (timeline.whole) held = { start: time };
      else {
        if (time < timeline.from || time > timeline.to) timeline.pan(time - (timeline.from + timeline.to) / 2);
        held = { grip: time - timeline.from };
      }
    });
    canvas.addEventListener("pointermove", (event) => {
      const x = place(event);
      const time = Math.min(Math.max(0, this.timeAt(x)), timeline.horizon);
      if (!held) canvas.style.cursor = !timeline.whole && edgeAt(x) ? "ew-resize" : "";
      else if (held.start !== undefined) {
        const [from, to] = [held.start, time].sort((a, b) => a - b);
        if (to - from > timeline.horizon * 0.005) timeline.show(from, to);
      } else if (held.edge) {
        const ends = { from: timeline.from, to: timeline.to, [held.edge]: time };
        if (ends.to - ends.from > timeline.horizon * LEAST_SHOWN) timeline.show(ends.from, ends.to);
      } else timeline.pan(time - held.grip - timeline.from);
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => (held = null));
  }
}
