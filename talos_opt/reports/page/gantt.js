// The Gantt chart: a lane for each device slot, thin lanes for links, on a canvas.

const AXIS = 24;
const LINK_HEIGHT = 12;
const GROUP_HEIGHT = 40; // of devices that are folded
const HEADER = 18; // of devices that could be

class Gantt extends TimeChart {
  constructor(canvas, timeline, look, page) {
    super(canvas, timeline, look.theme, page);
    this.look = look;
    this.selected = -1;
    this.echo = -1; // the op that is pointed at in the other schedule
  }

  show(plan) {
    this.plan = plan;
    this.selected = this.echo = -1;
    this.layOut();
  }

  // Where each lane lies; the canvas is as high as they need. Lanes that are folded share a row.
  layOut() {
    const { plan, look, page } = this;
    const groups = groupsOf(plan, page.folding);
    const groupOf = new Map(groups.flatMap((group) => group.devices.map((d) => [d, group])));
    const folded = (lane) => look.folded.has(groupOf.get(lane.source)?.kind);
    const slots = plan.lanes.filter((lane) => !lane.link && !folded(lane)).length;
    this.laneHeight = Math.max(9, Math.min(38, Math.floor(480 / Math.max(1, slots))));
    const gap = this.laneHeight >= 14 ? 8 : 3;
    this.rows = [];
    this.groups = []; // what is folded: {group, lanes, link, y, height}
    this.headers = []; // what could be: {group, y, height}
    let y = AXIS + 4;
    let before = null;
    const made = new Map();
    const place = (lane, height, name) => {
      if (before !== null) y += name === before ? 1 : lane.link ? 3 : gap;
      const row = { y, height, first: name !== before };
      y += height;
      before = name;
      return row;
    };
    plan.lanes.forEach((lane, l) => {
      if (lane.link && !look.shown.transfers) return void this.rows.push(null);
      const group = groupOf.get(lane.source);
      const key = group && `${lane.link ? "links of " : ""}${group.kind}`;
      if (!group || !folded(lane)) {
        if (group && !lane.link && !made.has(key)) {
          made.set(key, true);
          y += before === null ? 0 : gap;
          this.headers.push({ group, y, height: HEADER });
          y += HEADER;
          before = null;
        }
        const height = lane.link ? LINK_HEIGHT : this.laneHeight;
        return void this.rows.push(place(lane, height, lane.link ? `link ${lane.label}` : lane.device));
      }
      if (!made.has(key)) {
        const row = place(lane, lane.link ? 2 * LINK_HEIGHT : GROUP_HEIGHT, key);
        row.folded = { group, link: lane.link, lanes: [] };
        made.set(key, row);
        this.groups.push(row);
      }
      made.get(key).folded.lanes.push(l);
      this.rows.push(made.get(key));
    });
    this.fit(y + 6);
    this.draw();
  }

  draw() {
    if (!this.plan) return;
    const { pen, look } = this;
    this.category = look.colouring.of(this.plan);
    this.clear();
    this.#lanes();
    this.drawAxis(AXIS);
    pen.save();
    pen.beginPath();
    pen.rect(this.left, AXIS, this.plotWidth + 1, this.height);
    pen.clip();
    drawRangeGround(this);
    this.#eachLane((lane, row) => this.#bars(lane, row));
    for (const row of this.groups) this.#coverage(row);
    if (look.shown.critical) this.#eachLane((lane) => this.#critical(lane));
    if (this.selected >= 0) this.#selection();
    if (this.echo >= 0) this.#echoed();
    pen.restore();
    drawStretches(this);
  }

  #eachLane(act) {
    this.rows.forEach((row, lane) => row && !row.folded && act(lane, row));
  }

  // Background and label of each lane; hatched as long as its device still has something to do.
  #lanes() {
    const { pen, plan } = this;
    pen.textBaseline = "middle";
    this.#eachLane((l, row) => {
      const lane = plan.lanes[l];
      const busy = lane.link ? 0 : plan.busyUntil[lane.device];
      this.#ground(row, busy);
      this.#label(lane, row);
    });
    for (const row of this.groups) {
      const { group, link } = row.folded;
      this.#ground(row, link ? 0 : Math.max(...group.devices.map((d) => plan.busyUntil[d])));
      this.#groupLabel(row);
    }
    for (const { group, y, height } of this.headers) this.#say(`\u25be ${group.name}`, y + height / 2, 600);
  }

  #ground(row, busyUntil) {
    const { pen, theme } = this;
    pen.fillStyle = theme.lane;
    pen.fillRect(this.left, row.y, this.plotWidth, row.height);
    const end = Math.min(this.x(busyUntil), this.left + this.plotWidth);
    const start = Math.max(this.left, this.x(0));
    pen.fillStyle = theme.hatch(pen);
    if (end > start) pen.fillRect(start, row.y, end - start, row.height);
  }

  #say(text, y, weight, size = 12) {
    const { pen, theme, left } = this;
    pen.fillStyle = weight > 400 ? theme.text : theme.soft;
    pen.font = `${weight} ${size}px system-ui, sans-serif`;
    pen.fillText(clipped(pen, text, left - 8), 0, y);
  }

  #groupLabel({ y, height, folded: { group, link } }) {
    const { plan } = this;
    if (link) {
      this.#say(`${group.name} \u2192 any`, y + height / 2, 400, 10.5);
      return;
    }
    this.#say(`\u25b8 ${group.name}`, y + height / 2 - 7, 600);
    if (!plan.where) return;
    const shares = group.devices.map((d) => plan.busyTime(d));
    const mean = shares.reduce((sum, time) => sum + time, 0) / shares.length;
    this.#say(`busy ${shareOf(mean, plan.where.span)}`, y + height / 2 + 8, 400, 11);
  }

  #label(lane, row) {
    const { pen, plan, theme, left } = this;
    const middle = row.y + row.height / 2;
    if (lane.link) {
      if (row.first) this.#say(lane.label, middle, 400, 10.5);
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
    if (roomy && plan.where) this.#say(`busy ${plan.busyShare(lane.device)}`, middle + 8, 400, 11);
  }

  // Bars of a lane that are in sight: act(bar, op, category).
  #seen(lane, act) {
    const { plan, timeline, category } = this;
    const bars = plan.bars[lane];
    for (let k = plan.firstEnding(lane, timeline.from - 1e-9 * timeline.span); k < bars.length; k += 1) {
      const bar = bars[k];
      if (bar.start > timeline.to) break;
      const op = bar.op ? bar.i : plan.transfer.op[bar.i];
      act(bar, op, category[op]);
    }
  }

  // Bars of a lane. What is narrower than a pixel is gathered: the shade of a pixel column then
  // says how busy the lane is there, its colour which category is busiest.
  #bars(lane, row) {
    const { pen, plan, look, timeline } = this;
    const { colouring, moved } = look;
    const perTime = this.plotWidth / timeline.span;
    const edge = this.left + this.plotWidth + 4;
    const thin = new ThinBars(this.left, this.plotWidth);
    this.#seen(lane, (bar, op, category) => {
      const x = this.x(bar.start);
      const width = (bar.end - bar.start) * perTime;
      if (width < 1.2) {
        thin.add(x, width, category, look.alpha(op, category));
        return;
      }
      if (bar.lanes === 0) return; // drawn with its first lane
      const { y, height } = this.#box(lane, bar);
      pen.globalAlpha = look.alpha(op, category);
      pen.fillStyle = colouring.fillOf(category, pen);
      // Cut off outside what is shown: a canvas counts in few digits.
      const begin = Math.max(x, this.left - 4);
      const wide = Math.min(width > 4 ? x + width - 1 : x + width, edge) - begin;
      pen.fillRect(begin, y, wide, height);
      if (moved && bar.op && moved.has(op)) this.#corner(begin, y, wide, height);
      if (bar.op && width > 24 && height >= 12) this.#name(op, x, y, width, height, category);
    });
    const inset = plan.lanes[lane].link ? 2 : 0;
    thin.draw(pen, colouring, row.y + inset, row.height - 2 * inset);
    pen.globalAlpha = 1;
  }

  // An op that the other schedule puts on another device has a corner cut off.
  #corner(x, y, width, height) {
    const { pen, theme } = this;
    const size = Math.min(9, width, height);
    if (size < 2) return;
    pen.fillStyle = theme.critical;
    pen.beginPath();
    pen.moveTo(x + width - size, y);
    pen.lineTo(x + width, y);
    pen.lineTo(x + width, y + size);
    pen.fill();
  }

  // What runs on lanes that are folded, stacked: the height is the share of them that is busy.
  #coverage({ y, height, folded }) {
    const { pen, plan, look, timeline } = this;
    const { colouring } = look;
    const perTime = this.plotWidth / timeline.span;
    const sums = new Coverage(this.left, this.plotWidth, colouring.names.length);
    for (const lane of folded.lanes) {
      this.#seen(lane, (bar, op, category) => sums.add(this.x(bar.start), (bar.end - bar.start) * perTime, category, look.alpha(op, category)));
    }
    // Devices that send nothing have no lane; those that send to several may have more than one.
    const slots = folded.group.devices.reduce((sum, d) => sum + plan.slotsOf(d), 0);
    const links = Math.max(folded.group.devices.length, folded.lanes.length);
    sums.draw(pen, colouring, y + 1, height - 2, folded.link ? links : slots);
  }

  // Transfers are thinner than ops: on a link, and where they hold a slot of a device.
  #box(lane, bar) {
    const row = this.rows[lane];
    if (bar.op) return { y: row.y, height: this.#spanned(lane, bar.lanes) };
    const height = this.plan.lanes[lane].link ? row.height - 4 : Math.min(8, row.height / 2);
    return { y: row.y + (row.height - height) / 2, height };
  }

  #spanned(lane, count) {
    if (this.rows[lane].folded) return this.rows[lane].height;
    const last = this.rows[lane + count - 1];
    return last.y + last.height - this.rows[lane].y;
  }

  #name(op, x, y, width, height, category) {
    const { pen, left } = this;
    const from = Math.max(x, left);
    const room = Math.min(x + width, left + this.plotWidth) - from - 8;
    if (room < 18) return;
    pen.font = "11.5px system-ui, sans-serif";
    pen.fillStyle = this.look.colouring.inkOn(category);
    const text = clipped(pen, this.page.ops.name[op], room);
    // The first letters alone tell nobody which op it is.
    if (text.length > 4 || text === this.page.ops.name[op]) pen.fillText(text, from + 4, y + height / 2 + 0.5);
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

  // The op that is pointed at in the other schedule.
  #echoed() {
    const { pen, theme } = this;
    const box = this.boxOf(this.echo);
    for (const [colour, width] of [[theme.card, 5], [theme.critical, 2]]) {
      pen.strokeStyle = colour;
      pen.lineWidth = width;
      pen.strokeRect(box.x - 1, box.y - 1, Math.max(box.width, 3) + 1, box.height + 2);
    }
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
    if (this.rows[lane].folded) return { kind: "group", row: this.rows[lane], time: this.timeAt(x) };
    const bar = this.plan.barAt(lane, this.timeAt(x), (3 * this.timeline.span) / this.plotWidth);
    if (bar) return { kind: bar.op ? "op" : "transfer", i: bar.i };
    const { link, device } = this.plan.lanes[lane];
    const gap = link ? null : this.plan.gapAt(device, this.timeAt(x));
    return gap && { kind: "gap", gap };
  }

  // The kind that a place folds or unfolds: on its label, or anywhere in a row that is folded.
  foldAt({ x, y }) {
    const inside = (item) => y >= item.y && y <= item.y + item.height;
    const header = this.headers.find(inside);
    if (header) return header.group.kind;
    return this.groups.find((row) => inside(row) && (x < this.left || !row.folded.link))?.folded.group.kind ?? null;
  }
}
