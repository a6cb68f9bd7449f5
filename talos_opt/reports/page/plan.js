// One schedule, ready to be drawn and asked: which bars lie on a lane, what runs at a time, why.

class Plan {
  constructor(page, raw) {
    this.page = page;
    this.label = raw.label;
    this.facts = raw.facts;
    this.horizon = raw.horizon > 0 ? raw.horizon : 1;
    this.lanes = raw.lanes;
    this.devices = raw.devices;
    this.op = raw.op;
    this.transfer = raw.transfer;
    this.memory = raw.memory;
    this.why = raw.why;
    this.slack = raw.slack;
    this.history = raw.history;
    this.step = raw.step ?? null;
    this.cards = raw.cards ?? null;
    this.where = raw.where ?? null;
    this.critical = { op: new Set(raw.critical.op), transfer: new Set(raw.critical.transfer) };
    this.size = raw.op.start.length;
    this.#lay(raw);
  }

  // Bars of each lane by start. A bar that fills neighbouring lanes is drawn with the first of
  // them, where `lanes` says how many they are; on the others it is only there to be found.
  #lay(raw) {
    const { op, transfer, lanes } = this;
    this.bars = lanes.map(() => []);
    const put = (rows, i, lane, width) => {
      for (let k = 0; k < width; k += 1) {
        const bar = { i, op: rows === op, start: rows.start[i], end: rows.end[i], lanes: k ? 0 : width };
        this.bars[lane + k].push(bar);
      }
    };
    for (let i = 0; i < this.size; i += 1) put(op, i, op.lane[i], op.lanes[i]);
    raw.more.op.forEach((i, k) => put(op, i, raw.more.lane[k], raw.more.lanes[k]));
    transfer.op.forEach((_, i) => put(transfer, i, transfer.lane[i], 1));
    raw.hold.transfer.forEach((i, k) => put(transfer, i, raw.hold.lane[k], 1));
    this.busyUntil = new Array(this.devices.length).fill(0);
    this.lanesOf = this.devices.map(() => []);
    this.reach = lanes.map((lane, l) => {
      const bars = this.bars[l].sort((a, b) => a.start - b.start || a.end - b.end);
      const reach = new Float64Array(bars.length); // latest end so far: it never falls
      bars.forEach((bar, k) => (reach[k] = Math.max(bar.end, k ? reach[k - 1] : 0)));
      if (!lane.link) {
        this.lanesOf[lane.device].push(l);
        const last = bars.length ? reach[bars.length - 1] : 0;
        this.busyUntil[lane.device] = Math.max(this.busyUntil[lane.device], last);
      }
      return reach;
    });
  }

  // Slots of a device, some of which may have no lane; overlap beyond them, and slots that nobody
  // knows of, are its lanes.
  slotsOf(device) {
    return Math.max(this.devices[device].slots, this.lanesOf[device].length);
  }

  // Share of the makespan that a device is busy, in percent.
  busyShare(device) {
    return shareOf(this.busyTime(device), this.where.span);
  }

  busyTime(device) {
    const { parts } = this.where.devices[device];
    return parts[0] + parts[1];
  }

  // Position on the lane of the first bar that may end after `time`: all before it have ended.
  firstEnding(lane, time) {
    return firstAbove(this.reach[lane], time);
  }

  // Bar at a time, or the nearest one within `reach`; null: none. A bar shorter than that goes
  // before the long ones beside it, which can be pointed at elsewhere.
  barAt(lane, time, reach) {
    const bars = this.bars[lane];
    let best = null;
    let least = Infinity;
    for (let k = this.firstEnding(lane, time - reach - this.horizon * 1e-12); k < bars.length; k += 1) {
      const bar = bars[k];
      if (bar.start > time + reach) break;
      const away = Math.max(bar.start - time, time - bar.end, 0);
      const rank = away + (bar.end - bar.start > reach ? reach : 0);
      if (away <= reach && rank < least) [best, least] = [bar, rank];
    }
    return best;
  }

  // The stretch in which slots of a device are free at a time, and why; null: none is known.
  gapAt(device, time) {
    const gaps = this.where?.gaps;
    if (!gaps) return null;
    this.gapsOf ??= this.devices.map((_, d) => gaps.device.flatMap((other, g) => (other === d ? [g] : [])));
    const found = this.gapsOf[device].find((g) => gaps.start[g] <= time && time < gaps.end[g]);
    if (found === undefined) return null;
    return Object.fromEntries(Object.entries(gaps).map(([name, column]) => [name, column[found]]));
  }

  // What runs on a device at a time: {ops, free: slots, until: the next end}.
  running(device, time) {
    const ops = new Set();
    const lanes = this.lanesOf[device];
    let taken = 0;
    let until = Infinity;
    const slack = this.horizon * 1e-9;
    for (const lane of lanes) {
      const bars = this.bars[lane];
      for (let k = this.firstEnding(lane, time + slack); k < bars.length; k += 1) {
        const bar = bars[k];
        if (bar.start > time + slack) break;
        if (bar.end <= time + slack) continue;
        ops.add(bar.op ? bar.i : this.transfer.op[bar.i]);
        taken += 1;
        until = Math.min(until, bar.end);
      }
    }
    return { ops: [...ops], free: this.slotsOf(device) - taken, until };
  }

  // When the last input of an op had been produced, wherever it was.
  readyAt(i) {
    const release = this.page.models[this.page.ops.model[i]].release ?? 0;
    return Math.max(release, 0, ...this.page.inputsOf(i).map((k) => this.op.end[k]));
  }
}

// What all schedules share: the ops, and with the graph also what is known of them.
class Page {
  constructor(data) {
    Object.assign(this, data);
    const { ops } = this;
    this.size = ops.name.length;
    if (ops.input_ptr) this.readers = this.#readers();
  }

  #readers() {
    const found = Array.from({ length: this.size }, () => []);
    const { input_ptr: ptr, input } = this.ops;
    for (let i = 0; i < this.size; i += 1) {
      for (let e = ptr[i]; e < ptr[i + 1]; e += 1) found[input[e]].push(i);
    }
    return found;
  }

  name(i) {
    return `${this.models[this.ops.model[i]].id}/${this.ops.name[i]}`;
  }

  // The op of a name, which another may have in capitals; -1: there is none.
  find(name) {
    this.numbers ??= new Map(Array.from({ length: this.size }, (_, i) => [this.name(i), i]));
    return this.numbers.get(name) ?? this.lowered.indexOf(name.toLowerCase());
  }

  type(i) {
    return this.ops.types[this.ops.type[i]];
  }

  // Module and line of code that an op comes from; empty where the graph does not say.
  origin(i) {
    return this.ops.origin ? this.ops.origins[this.ops.origin[i]] : "";
  }

  time(value) {
    return duration(value, this.unit);
  }

  // The same as an element that shows every digit, in the graph's unit, under the pointer.
  timed(value) {
    return exactly(this.time(value), value, this.unit);
  }

  // A moment of a schedule as long as `span`.
  momentOf(value, span) {
    return exactly(moment(value, this.unit, span), value, this.unit);
  }

  // When something that takes some time starts or ends: start and end are told apart.
  moment(value, takes) {
    const text = moment(value, this.unit, takes, 3);
    const said = digitsOf(text) === digitsOf(String(value));
    return said ? text : `${text} (${value} ${this.unit})`;
  }

  inputsOf(i) {
    const { input_ptr: ptr, input } = this.ops;
    return ptr ? input.slice(ptr[i], ptr[i + 1]) : [];
  }

  readersOf(i) {
    return this.readers ? this.readers[i] : [];
  }

  // Time of an op on a device; null where it cannot run there.
  timeOn(i, device) {
    const { time, time_column: column } = this.ops;
    return time ? time[column[device]][i] : null;
  }

  get lowered() {
    this.lower ??= Array.from({ length: this.size }, (_, i) => this.name(i).toLowerCase());
    return this.lower;
  }
}
