// Memory of each device over time, under the Gantt chart and over the same stretch of time.

const TRACK = 58;

class MemoryCurves extends TimeChart {
  // `folded`: kinds of devices that share a curve.
  show(plan, folded) {
    this.plan = plan;
    const shown = foldedMemory(plan, groupsOf(plan, this.page.folding), folded);
    const curves = shown.map((curve) => ({ ...curve, peak: curve.bytes.reduce((most, held) => Math.max(most, held), 0) }));
    this.empty = curves.filter((curve) => curve.peak === 0).map((curve) => curve.label);
    this.tracks = curves.filter((curve) => curve.peak > 0).map((curve) => {
      const { peak, static: counted } = curve;
      const most = Math.max(peak, counted ?? 0);
      // A limit far above all that counts would press the curve flat: it is then told, not drawn.
      const near = curve.limit !== null && curve.limit <= 2 * most;
      return { ...curve, near, top: Math.max(near ? curve.limit : 0, most, 1) * 1.08 };
    });
    this.layOut();
  }

  layOut() {
    this.fit(this.tracks.length * (TRACK + 10) + 4);
    this.draw();
  }

  draw() {
    if (!this.plan) return;
    this.clear();
    this.tracks.forEach((track, k) => this.#track(track, k * (TRACK + 10) + 2));
    this.drawAxis(0);
  }

  #track(track, y) {
    const { pen, theme, left, plotWidth } = this;
    pen.fillStyle = theme.line;
    pen.fillRect(left, y + TRACK, plotWidth, 1);
    pen.textBaseline = "middle";
    pen.fillStyle = theme.text;
    pen.font = "600 12.5px system-ui, sans-serif";
    pen.fillText(clipped(pen, track.label, left - 8), 0, y + 12);
    pen.fillStyle = theme.soft;
    pen.font = "11px system-ui, sans-serif";
    pen.fillText(clipped(pen, this.narrow ? bytes(track.peak) : `${track.who ? "most" : "peak"} ${bytes(track.peak)}`, left - 8), 0, y + 29);
    const share = track.static !== null && track.limit ? ` ${shareOf(track.static, track.limit)} static` : "";
    const limit = track.limit === null ? "no limit" : share && !this.narrow ? share.trim() : `of ${bytes(track.limit)}`;
    pen.fillText(clipped(pen, limit, left - 8), 0, y + 44);
    pen.save();
    pen.beginPath();
    pen.rect(left, y, plotWidth, TRACK);
    pen.clip();
    this.#curve(track, y);
    if (track.near) this.#line(y, track.limit / track.top, theme.limit, [6, 4]);
    if (track.static !== null) this.#line(y, track.static / track.top, theme.curve, [2, 3]);
    pen.restore();
  }

  #line(y, share, colour, dashes) {
    const { pen, left, plotWidth } = this;
    const level = Math.round(y + TRACK - share * TRACK) + 0.5;
    pen.strokeStyle = colour;
    pen.lineWidth = 1.5;
    pen.setLineDash(dashes);
    pen.beginPath();
    pen.moveTo(left, level);
    pen.lineTo(left + plotWidth, level);
    pen.stroke();
    pen.setLineDash([]);
  }

  // A step function; steps closer than a pixel are drawn as the most that is held there.
  #curve(track, y) {
    const { pen, theme, timeline } = this;
    const { times, bytes: held } = track;
    const level = (value) => y + TRACK - (value / track.top) * TRACK;
    let k = firstAbove(times, timeline.from);
    let value = k > 0 ? held[k - 1] : 0;
    const path = new Path2D();
    path.moveTo(this.left, level(value));
    for (; k < times.length && times[k] <= timeline.to; k += 1) {
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
    const end = this.left + this.plotWidth;
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

  // Keys read the curves: n and p go from change to change, up and down from device to device.
  // Returns the place that is read, or null if it was another key.
  readByKey(event) {
    const acts = { n: [0, 1], p: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };
    if (event.ctrlKey || event.altKey || event.metaKey || !(event.key in acts) || this.tracks.length === 0) return null;
    event.preventDefault();
    const [down, on] = acts[event.key];
    const { timeline } = this;
    this.reading ??= { k: 0, time: timeline.from };
    const k = Math.min(Math.max(this.reading.k + (this.reading.started ? down : 0), 0), this.tracks.length - 1);
    const { times } = this.tracks[k];
    const next = firstAbove(times, this.reading.time) - (on < 0 ? 1 : 0);
    const before = on < 0 && next >= 0 && times[next] === this.reading.time ? next - 1 : next;
    const time = on === 0 ? this.reading.time : (times[Math.min(Math.max(before, 0), times.length - 1)] ?? 0);
    this.reading = { k, time, started: true };
    if (time < timeline.from || time > timeline.to) timeline.pan(time - (timeline.from + timeline.to) / 2);
    return { x: this.x(time), y: k * (TRACK + 10) + TRACK / 2, time };
  }

  // Device, time and bytes at a place of the canvas, or null. The time of a place that keys read is
  // known exactly.
  at({ x, y, time = this.timeAt(x) }) {
    const k = Math.floor((y - 2) / (TRACK + 10));
    if (!this.covers(x) || k < 0 || k >= this.tracks.length) return null;
    const track = this.tracks[k];
    const steps = firstAbove(track.times, time);
    const who = track.who && steps > 0 ? this.plan.devices[track.who[steps - 1]].id : null;
    return { track, time, held: steps > 0 ? track.bytes[steps - 1] : 0, who };
  }
}
