// The Gantt chart: a lane for each device slot, thin lanes for links, on a canvas.

const AXIS = 24;
const LINK_HEIGHT = 12;

class Gantt extends TimeChart {
  constructor(canvas, timeline, theme, page) {
    super(canvas, timeline, theme, page);
    this.hidden = new Set(); // models that are faded
    this.shown = { transfers: true, critical: true };
    this.matches = null; // ops that the search found
    this.selected = -1;
  }

  show(plan) {
    this.plan = plan;
    this.selected = -1;
    this.layOut();
  }

  // Where each lane lies; the canvas is as high as they need.
  layOut() {
    const { plan } = this;
    const slots = plan.lanes.filter((lane) => !lane.link).length;
    this.laneHeight = Math.max(9, Math.min(38, Math.floor(480 / slots)));
    const gap = this.laneHeight >= 14 ? 8 : 3;
    let y = AXIS + 4;
    let before = null;
    this.rows = [];
    for (const lane of plan.lanes) {
      if (lane.link && !this.shown.transfers) {
        this.rows.push(null);
        continue;
      }
      const group = lane.link ? `link ${lane.label}` : lane.device;
      if (before !== null) y += group === before ? 1 : lane.link ? 3 : gap;
      const height = lane.link ? LINK_HEIGHT : this.laneHeight;
      this.rows.push({ y, height, first: group !== before });
      y += height;
      before = group;
    }
    this.fit(y + 6);
    this.draw();
  }

  draw() {
    if (!this.plan) return;
    const { pen } = this;
    this.clear();
    this.#lanes();
    this.drawAxis(AXIS);
    pen.save();
    pen.beginPath();
    pen.rect(this.left, AXIS, this.plotWidth + 1, this.height);
    pen.clip();
    this.rows.forEach((row, lane) => row && this.#bars(lane, row));
    if (this.shown.critical) this.rows.forEach((row, lane) => row && this.#critical(lane));
    if (this.selected >= 0) this.#selection();
    pen.restore();
  }

  // Background and label of each lane; hatched as long as its device still has something to do.
  #lanes() {
    const { pen, plan, theme } = this;
    const hatch = theme.hatch(pen);
    pen.textBaseline = "middle";
    this.rows.forEach((row, l) => {
      if (!row) return;
      const lane = plan.lanes[l];
      pen.fillStyle = theme.lane;
      pen.fillRect(this.left, row.y, this.plotWidth, row.height);
      if (!lane.link && lane.device >= 0) {
        const end = Math.min(this.x(plan.busyUntil[lane.device]), this.left + this.plotWidth);
        const start = Math.max(this.left, this.x(0));
        pen.fillStyle = hatch;
        if (end > start) pen.fillRect(start, row.y, end - start, row.height);
      }
      this.#label(lane, row);
    });
  }

  #label(lane, row) {
    const { pen, plan, theme, left } = this;
    const middle = row.y + row.height / 2;
    if (lane.link) {
      if (!row.first) return;
      pen.fillStyle = theme.soft;
      pen.font = "10.5px system-ui, sans-serif";
      pen.fillText(clipped(pen, lane.label, left - 8), 0, middle);
      return;
    }
    const device = plan.devices[lane.device];
    const several = plan.lanesOf[lane.device].length > 1;
    if (several && !row.first && row.height < 12) return;
    const roomy = row.height >= 30 && !several;
    const text = several && row.height < 12 ? device.id : lane.label;
    pen.fillStyle = row.first ? theme.text : theme.soft;
    pen.font = `${row.first ? 600 : 400} ${row.height < 12 ? 10 : 12}px system-ui, sans-serif`;
    pen.fillText(clippedFront(pen, text, left - 8), 0, roomy ? middle - 7 : middle);
    if (roomy && plan.where) {
      pen.fillStyle = theme.soft;
      pen.font = "11px system-ui, sans-serif";
      pen.fillText(clipped(pen, `busy ${plan.busyShare(lane.device)}`, left - 8), 0, middle + 8);
    }
  }

  #alpha(i) {
    if (this.hidden.has(this.page.ops.model[i])) return 0.1;
    return this.matches && !this.matches.has(i) ? 0.22 : 1;
  }

  // Bars of a lane. What is narrower than a pixel is gathered: the shade of a pixel column then
  // says how busy the lane is there, its colour which model is busiest.
  #bars(lane, row) {
    const { pen, plan, theme, page, timeline } = this;
    const bars = plan.bars[lane];
    const perTime = this.plotWidth / timeline.span;
    const edge = this.left + this.plotWidth + 4;
    const thin = new ThinBars(this.left, this.plotWidth);
    for (let k = plan.firstEnding(lane, timeline.from - 1e-9 * timeline.span); k < bars.length; k += 1) {
      const bar = bars[k];
      if (bar.start > timeline.to) break;
      const op = bar.op ? bar.i : plan.transfer.op[bar.i];
      const model = page.ops.model[op];
      const x = this.x(bar.start);
      const width = (bar.end - bar.start) * perTime;
      if (width < 1.2) {
        thin.add(x, width, model, this.#alpha(op));
        continue;
      }
      if (bar.lanes === 0) continue; // drawn with its first lane
      const { y, height } = this.#box(lane, bar);
      pen.globalAlpha = this.#alpha(op);
      pen.fillStyle = theme.fillOf(model, pen);
      // Cut off outside what is shown: a canvas counts in few digits.
      const begin = Math.max(x, this.left - 4);
      pen.fillRect(begin, y, Math.min(width > 4 ? x + width - 1 : x + width, edge) - begin, height);
      if (bar.op && width > 24 && height >= 12) this.#name(op, x, y, width, height, model);
    }
    const inset = plan.lanes[lane].link ? 2 : 0;
    thin.draw(pen, theme, row.y + inset, row.height - 2 * inset);
    pen.globalAlpha = 1;
  }

  // Transfers are thinner than ops: on a link, and where they hold a slot of a device.
  #box(lane, bar) {
    const row = this.rows[lane];
    if (bar.op) return { y: row.y, height: this.#spanned(lane, bar.lanes) };
    const height = this.plan.lanes[lane].link ? row.height - 4 : Math.min(8, row.height / 2);
    return { y: row.y + (row.height - height) / 2, height };
  }

  #spanned(lane, count) {
    const last = this.rows[lane + count - 1];
    return last.y + last.height - this.rows[lane].y;
  }

  #name(op, x, y, width, height, model) {
    const { pen, left } = this;
    const from = Math.max(x, left);
    const room = Math.min(x + width, left + this.plotWidth) - from - 8;
    if (room < 18) return;
    pen.font = "11.5px system-ui, sans-serif";
    pen.fillStyle = this.theme.inkOn(model);
    const text = clipped(pen, this.page.ops.name[op], room);
    if (text.length > 1) pen.fillText(text, from + 4, y + height / 2 + 0.5);
  }

  // One frame around what follows each other without a gap: ops' own frames would hide them.
  #critical(lane) {
    const { pen, plan, theme, timeline } = this;
    const bars = plan.bars[lane];
    pen.strokeStyle = pen.fillStyle = theme.critical;
    pen.lineWidth = 2;
    let run = null;
    for (let k = plan.firstEnding(lane, timeline.from - 1e-9 * timeline.span); k < bars.length; k += 1) {
      const bar = bars[k];
      if (bar.start > timeline.to) break;
      if (bar.lanes === 0 || !plan.critical[bar.op ? "op" : "transfer"].has(bar.i)) continue;
      const from = this.x(bar.start);
      const to = this.x(bar.end);
      const { y, height } = this.#box(lane, bar);
      if (run && run.y === y && run.height === height && from <= run.to + 1) {
        run.to = Math.max(run.to, to);
        continue;
      }
      if (run) this.#frame(run);
      run = { from, to, y, height };
    }
    if (run) this.#frame(run);
  }

  #frame({ from, to, y, height }) {
    const { pen } = this;
    const width = to - from;
    if (width < 5) pen.fillRect(from, y + height - 3, Math.max(width, 1), 3);
    else pen.strokeRect(from + 1, y + 1, width - 3, height - 2);
  }

  // The chosen op, with lines from what it read and to what reads it.
  #selection() {
    const { pen, plan, theme, page } = this;
    const i = this.selected;
    const box = this.boxOf(i);
    // On a ground of the card's colour, so that it is seen on bars of any colour.
    pen.strokeStyle = theme.card;
    pen.lineWidth = 6;
    pen.strokeRect(box.x - 1, box.y - 1, Math.max(box.width, 3) + 1, box.height + 2);
    pen.strokeStyle = theme.accent;
    pen.lineWidth = 1.5;
    for (const k of page.inputsOf(i).slice(0, 40)) this.#curve(this.boxOf(k), box);
    pen.setLineDash([4, 3]);
    for (const k of page.readersOf(i).slice(0, 40)) this.#curve(box, this.boxOf(k));
    pen.setLineDash([]);
    pen.lineWidth = 3;
    pen.strokeRect(box.x - 1, box.y - 1, Math.max(box.width, 3) + 1, box.height + 2);
  }

  boxOf(i) {
    const { op } = this.plan;
    const row = this.rows[op.lane[i]];
    const x = this.x(op.start[i]);
    return { x, y: row.y, width: this.x(op.end[i]) - x, height: this.#spanned(op.lane[i], op.lanes[i]) };
  }

  #curve(from, to) {
    const { pen } = this;
    const [x0, y0, x1, y1] = [from.x + from.width, from.y + from.height / 2, to.x, to.y + to.height / 2];
    const bend = Math.min(60, Math.abs(x1 - x0) / 2 + 14);
    pen.beginPath();
    pen.moveTo(x0, y0);
    pen.bezierCurveTo(x0 + bend, y0, x1 - bend, y1, x1, y1);
    pen.stroke();
  }

  // What lies at a place of the canvas: {kind, i}, or null.
  at({ x, y }) {
    if (!this.covers(x)) return null;
    const lane = this.rows.findIndex((row) => row && y >= row.y - 1 && y <= row.y + row.height + 1);
    if (lane < 0) return null;
    const bar = this.plan.barAt(lane, this.timeAt(x), (3 * this.timeline.span) / this.plotWidth);
    if (bar) return { kind: bar.op ? "op" : "transfer", i: bar.i };
    const { link, device } = this.plan.lanes[lane];
    const gap = link ? null : this.plan.gapAt(device, this.timeAt(x));
    return gap && { kind: "gap", gap };
  }
}

// Bars of a lane too narrow to be drawn one by one, by pixel column.
class ThinBars {
  constructor(left, width) {
    this.left = left;
    this.columns = Math.ceil(width);
    this.busy = null;
  }

  add(x, width, model, alpha) {
    if (!this.busy) {
      this.busy = new Float32Array(this.columns);
      this.most = new Float32Array(this.columns);
      this.model = new Int32Array(this.columns);
      this.alpha = new Float32Array(this.columns);
    }
    const column = Math.min(this.columns - 1, Math.floor(x - this.left));
    if (column < 0 || column >= this.columns) return;
    this.busy[column] += Math.max(width, 0.08);
    if (width >= this.most[column]) {
      this.most[column] = width;
      this.model[column] = model;
      this.alpha[column] = alpha;
    }
  }

  draw(pen, theme, y, height) {
    if (!this.busy) return;
    for (let c = 0; c < this.columns; c += 1) {
      if (this.busy[c] === 0) continue;
      pen.globalAlpha = this.alpha[c] * (0.3 + 0.7 * Math.min(1, this.busy[c]));
      pen.fillStyle = theme.fillOf(this.model[c], pen);
      pen.fillRect(this.left + c, y, 1, height);
    }
    pen.globalAlpha = 1;
  }
}

// The end of a label tells slots apart: its front gives way.
function clippedFront(pen, text, room) {
  if (pen.measureText(text).width <= room) return text;
  for (let from = 1; from < text.length; from += 1) {
    const rest = `\u2026${text.slice(from)}`;
    if (pen.measureText(rest).width <= room) return rest;
  }
  return "";
}
