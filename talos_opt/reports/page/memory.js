// Memory of each device over time, under the Gantt chart and over the same stretch of time.

const TRACK = 58;

class MemoryCurves {
  constructor(canvas, timeline, theme, page) {
    Object.assign(this, { canvas, timeline, theme, page });
    this.pen = canvas.getContext("2d");
    this.view = { left: 0, width: 1 };
  }

  show(plan) {
    this.plan = plan;
    const curves = plan.memory.map((curve) => ({ ...curve, peak: curve.bytes.reduce((most, held) => Math.max(most, held), 0) }));
    this.empty = curves.filter((curve) => curve.peak === 0).map((curve) => plan.devices[curve.device].id);
    this.tracks = curves.filter((curve) => curve.peak > 0).map((curve) => {
      const { peak } = curve;
      // A limit far above the peak would press the curve flat: it is then told, not drawn.
      const near = curve.limit !== null && curve.limit <= 2 * peak;
      return { ...curve, near, top: Math.max(near ? curve.limit : 0, peak, 1) * 1.08 };
    });
    this.layOut();
  }

  layOut() {
    const width = this.canvas.parentElement.clientWidth;
    this.left = width < 560 ? 78 : 132;
    this.view.left = this.left;
    this.view.width = Math.max(40, width - this.left - 10);
    this.width = width;
    this.height = this.tracks.length * (TRACK + 10) + 4;
    sizeCanvas(this.canvas, width, this.height);
    this.draw();
  }

  x(time) {
    return this.left + ((time - this.timeline.from) / this.timeline.span) * this.view.width;
  }

  draw() {
    if (!this.plan) return;
    const { pen } = this;
    const scale = window.devicePixelRatio || 1;
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, this.width, this.height);
    this.tracks.forEach((track, k) => this.#track(track, k * (TRACK + 10) + 2));
    drawAxis(pen, this, this.theme, this.page.unit, 0, this.height);
  }

  #track(track, y) {
    const { pen, theme, left, view } = this;
    pen.fillStyle = theme.lane;
    pen.fillRect(left, y, view.width, TRACK);
    pen.textBaseline = "middle";
    pen.fillStyle = theme.text;
    pen.font = "600 12.5px system-ui, sans-serif";
    pen.fillText(clipped(pen, this.plan.devices[track.device].id, left - 8), 0, y + 12);
    pen.fillStyle = theme.soft;
    pen.font = "11px system-ui, sans-serif";
    pen.fillText(clipped(pen, this.width < 560 ? bytes(track.peak) : `peak ${bytes(track.peak)}`, left - 8), 0, y + 29);
    const limit = track.limit === null ? "no limit" : `of ${bytes(track.limit)}`;
    pen.fillText(clipped(pen, limit, left - 8), 0, y + 44);
    pen.save();
    pen.beginPath();
    pen.rect(left, y, view.width, TRACK);
    pen.clip();
    this.#curve(track, y);
    if (track.near) {
      const level = Math.round(y + TRACK - (track.limit / track.top) * TRACK) + 0.5;
      pen.strokeStyle = theme.limit;
      pen.lineWidth = 1.5;
      pen.setLineDash([6, 4]);
      pen.beginPath();
      pen.moveTo(left, level);
      pen.lineTo(left + view.width, level);
      pen.stroke();
      pen.setLineDash([]);
    }
    pen.restore();
  }

  // A step function; steps closer than a pixel are drawn as the most that is held there.
  #curve(track, y) {
    const { pen, theme, timeline } = this;
    const { times, bytes: held } = track;
    const level = (value) => y + TRACK - (value / track.top) * TRACK;
    let k = lastAtOrBefore(times, timeline.from);
    let value = k < 0 ? 0 : held[k];
    const path = new Path2D();
    path.moveTo(this.left, level(value));
    for (k += 1; k < times.length && times[k] <= timeline.to; k += 1) {
      const x = this.x(times[k]);
      let most = held[k];
      while (k + 1 < times.length && this.x(times[k + 1]) < x + 0.7) {
        k += 1;
        most = Math.max(most, held[k]);
      }
      path.lineTo(x, level(value));
      path.lineTo(x, level(most));
      value = held[k];
      path.lineTo(x, level(value));
    }
    const end = this.left + this.view.width;
    path.lineTo(end, level(value));
    pen.strokeStyle = theme.curve;
    pen.lineWidth = 1.5;
    pen.lineJoin = "round";
    pen.stroke(path);
    path.lineTo(end, y + TRACK);
    path.lineTo(this.left, y + TRACK);
    pen.globalAlpha = 0.18;
    pen.fillStyle = theme.curve;
    pen.fill(path);
    pen.globalAlpha = 1;
  }

  // Device, time and bytes at a place of the canvas, or null.
  at({ x, y }) {
    const k = Math.floor((y - 2) / (TRACK + 10));
    if (x < this.left || x > this.left + this.view.width || k < 0 || k >= this.tracks.length) return null;
    const track = this.tracks[k];
    const time = this.timeline.from + ((x - this.left) / this.view.width) * this.timeline.span;
    const i = lastAtOrBefore(track.times, time);
    return { track, time, held: i < 0 ? 0 : track.bytes[i] };
  }
}

function lastAtOrBefore(times, time) {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= time) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
