// The Gantt chart with all that belongs to it: legend, buttons, search, details, memory curves.

// Ops that the table lists.
const LISTED_OPS = 2000;

class Board {
  constructor(page, theme) {
    Object.assign(this, { page, theme });
    this.timeline = new Timeline();
    this.canvas = node("canvas", { id: "gantt", tabindex: "0", role: "application", "aria-describedby": "gantt-keys" });
    this.memoryCanvas = node("canvas", { id: "memory", tabindex: "0", role: "application", "aria-label": "Memory held on each device over time", "aria-describedby": "memory-keys" });
    this.gantt = new Gantt(this.canvas, this.timeline, theme, page);
    this.memory = new MemoryCurves(this.memoryCanvas, this.timeline, theme, page);
    this.tip = node("div", { class: "tip", id: "tip", role: "status", hidden: true });
    this.memoryTip = node("div", { class: "tip", role: "status", hidden: true });
    this.details = node("div", { class: "details", id: "details", "aria-live": "polite", hidden: true });
    this.range = node("span", { class: "range", id: "range", "aria-live": "polite" });
    this.ganttPlot = node("div", { class: "plot" }, this.canvas, this.tip);
    this.memoryPlot = node("div", { class: "plot" }, this.memoryCanvas, this.memoryTip);
    this.timeline.listeners.push(() => this.later());
    theme.listeners.push(() => this.redraw());
    window.addEventListener("resize", () => this.resize());
    this.#listen();
  }

  // The part of the page that this is.
  sections() {
    const note =
      "Ctrl and wheel, or pinching, zooms; dragging moves along; a click or tap on a bar tells all of an op; pointing at idle time tells what is waited for. " +
      "With the chart in focus the wheel zooms too, w and s zoom, a and d move, f shows the chosen op, 0 shows all, n and p go from op to op.";
    const gantt = node(
      "section",
      { "aria-labelledby": "gantt-title" },
      node("h2", { id: "gantt-title" }, "Schedule"),
      this.#tools(),
      this.#legend(),
      this.ganttPlot,
      node("p", { class: "soft", id: "gantt-keys" }, note),
      this.details,
      this.#listOfOps(),
    );
    this.limitKey = node("div", { class: "legend" }, this.#key("limit", "limit, where it is near"), this.#key("static", "what it bounds (rule static)"));
    this.emptyNote = node("p", { class: "soft" });
    this.memorySection = node(
      "section",
      { "aria-labelledby": "memory-title" },
      node("h2", { id: "memory-title" }, "Memory over time"),
      this.limitKey,
      this.memoryPlot,
      this.emptyNote,
      node("p", { class: "soft" }, this.#memoryNote()),
      node("p", { class: "soft", id: "memory-keys" }, "With the chart in focus n and p go from change to change, up and down from device to device."),
    );
    return [gantt, this.memorySection];
  }

  show(plan) {
    this.plan = plan;
    plan.theme = this.theme;
    this.hide();
    this.close();
    // All schedules have one time scale, so that their bars can be compared.
    this.scale ??= Math.max(...this.page.schedules.map((raw) => raw.horizon || 1));
    this.timeline.reset(this.scale);
    this.gantt.show(plan);
    this.#fillList();
    this.remembers = plan.memory.some((curve) => curve.bytes.some((held) => held > 0));
    this.memorySection.hidden = !this.remembers;
    if (this.remembers) {
      this.memory.show(plan);
      const { tracks } = this.memory;
      this.limitKey.children[0].hidden = !tracks.some((track) => track.near);
      this.limitKey.children[1].hidden = !tracks.some((track) => track.static !== null);
      const { empty } = this.memory;
      this.emptyNote.hidden = empty.length === 0;
      this.emptyNote.textContent = `Nothing is ever held on ${empty.join(", ")}.`;
    }
    this.criticalToggle.hidden = plan.critical.op.size === 0;
    this.transferToggle.hidden = plan.transfer.start.length === 0;
    this.canvas.setAttribute(
      "aria-label",
      `Gantt chart of ${count(plan.size)} ops on ${plan.devices.length} devices over ${this.page.time(plan.horizon)}`,
    );
    this.#tellRange();
  }

  redraw() {
    this.gantt.draw();
    if (this.remembers) this.memory.draw();
  }

  // Once a frame, however many events there are.
  later() {
    if (this.waiting || !this.plan) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.redraw();
      this.#tellRange();
      clearTimeout(this.noting);
      this.noting = setTimeout(() => history.replaceState(null, "", `#${this.link()}`), 300);
    });
  }

  resize() {
    if (!this.plan || this.gantt.width === this.ganttPlot.clientWidth) return;
    this.hide();
    this.gantt.layOut();
    if (this.remembers) this.memory.layOut();
  }

  choose(i, { reveal = true } = {}) {
    const { plan, gantt, timeline } = this;
    gantt.selected = i;
    if (reveal) this.#bringIntoView(plan.op.start[i], plan.op.end[i]);
    this.details.replaceChildren(
      ...opAtLength(plan, i, { choose: (k) => this.choose(k), close: () => this.close() }),
    );
    this.details.hidden = false;
    this.hide();
    if (timeline.span > 0) this.later();
  }

  // A bar that is out of sight or too narrow to be seen gets a twentieth of the width.
  #bringIntoView(start, end) {
    const { timeline } = this;
    const length = end - start;
    const seen = start >= timeline.from && end <= timeline.to && length / timeline.span > 0.004;
    if (seen) return;
    const span = length / timeline.span > 0.004 ? timeline.span : Math.max(length * 20, this.plan.horizon * 1e-6);
    timeline.show((start + end - span) / 2, (start + end + span) / 2);
  }

  close() {
    this.gantt.selected = -1;
    this.details.hidden = true;
    this.details.replaceChildren();
    this.later();
  }

  hide() {
    this.tip.hidden = true;
    this.memoryTip.hidden = true;
  }

  #tellRange() {
    const { timeline, page } = this;
    const [from, to] = [timeline.from, timeline.to].map((time) => moment(time, page.unit, timeline.span));
    const range = `${from} to ${to}`;
    this.range.textContent = timeline.whole ? `all: ${range}` : range;
  }

  #listen() {
    const { canvas, timeline } = this;
    steer(this.gantt, {
      hover: (place) => this.#hover(place),
      tap: (place) => this.#tap(place),
    });
    steer(this.memory, {
      hover: (place) => this.#hoverMemory(place),
      tap: (place) => this.#hoverMemory(place),
    });
    this.memoryCanvas.addEventListener("keydown", (event) => {
      if (steerByKey(event, timeline)) return;
      const place = event.key === "Escape" ? null : this.memory.readByKey(event);
      if (place || event.key === "Escape") this.#hoverMemory(place);
    });
    canvas.addEventListener("keydown", (event) => {
      if (steerByKey(event, timeline)) return;
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      if (event.key === "Escape") this.close();
      else if (event.key === "f") this.#fit();
      else if (event.key === "n") this.#step(1);
      else if (event.key === "p") this.#step(-1);
    });
  }

  // Show the chosen op, and a little around it.
  #fit() {
    const { selected } = this.gantt;
    if (selected < 0) return;
    const { start, end } = this.plan.op;
    const length = Math.max(end[selected] - start[selected], this.plan.horizon * 1e-6);
    this.timeline.show(start[selected] - length, end[selected] + length);
  }

  // What is shown, as the part of an address behind #; and back.
  link() {
    const { timeline, gantt, page } = this;
    const parts = timeline.whole ? [] : [`t=${number(timeline.from, 10)},${number(timeline.to, 10)}`];
    if (gantt.selected >= 0) parts.push(`op=${encodeURIComponent(page.name(gantt.selected))}`);
    return parts.join("&");
  }

  follow(text) {
    const given = new URLSearchParams(text.replace(/^#/, ""));
    const [from, to] = (given.get("t") ?? "").split(",").map(Number);
    const i = given.has("op") ? this.page.lowered.indexOf(given.get("op").toLowerCase()) : -1;
    if (i >= 0) this.choose(i, { reveal: false });
    if (from < to) this.timeline.show(from, to);
  }

  // The view as a file.
  #save() {
    const { canvas, theme } = this;
    const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
    const pen = copy.getContext("2d");
    pen.fillStyle = theme.card;
    pen.fillRect(0, 0, copy.width, copy.height);
    pen.drawImage(canvas, 0, 0);
    const name = `${this.page.title.replace(/[^\p{L}\p{N}._-]+/gu, "_") || "schedule"}.png`;
    node("a", { href: copy.toDataURL("image/png"), download: name }).click();
  }

  // To the op that starts next, or before.
  #step(by) {
    const { start } = this.plan.op;
    this.plan.byStart ??= start.map((_, i) => i).sort((a, b) => start[a] - start[b] || a - b);
    const order = this.plan.byStart;
    const at = this.gantt.selected < 0 ? (by > 0 ? -1 : 0) : order.indexOf(this.gantt.selected);
    this.choose(order[(at + by + order.length) % order.length]);
  }

  #hover(place) {
    const found = place && this.gantt.at(place);
    this.canvas.style.cursor = found && found.kind !== "gap" ? "pointer" : "";
    this.tip.hidden = !found;
    if (found) this.#tellShort(found, place);
  }

  #tellShort(found, place) {
    this.tip.hidden = false;
    this.tip.replaceChildren(...(found.kind === "gap" ? gapOf(this.plan, found.gap) : shortOf(this.plan, found)));
    placeTip(this.tip, this.ganttPlot, place);
  }

  #tap(place) {
    const found = this.gantt.at(place);
    if (!found || found.kind === "gap") {
      this.close();
      this.hide();
      if (found) this.#tellShort(found, place);
    } else if (found.kind === "op") this.choose(found.i, { reveal: false });
    else this.#tellShort(found, place);
  }

  #hoverMemory(place) {
    const found = place && this.memory.at(place);
    this.memoryTip.hidden = !found;
    if (!found) return;
    const { track, time, held } = found;
    const limit = track.limit === null ? "no limit" : bytes(track.limit);
    this.memoryTip.replaceChildren(
      node("b", {}, this.plan.devices[track.device].id),
      terms([["time", this.page.time(time)], ["held", bytes(held)], track.static !== null && ["static", bytes(track.static)], ["limit", limit]]),
    );
    placeTip(this.memoryTip, this.memoryPlot, place);
  }

  #tools() {
    const { timeline } = this;
    const button = (text, label, act) => node("button", { type: "button", "aria-label": label, title: label, on: { click: act } }, text);
    const zoom = node(
      "div",
      { class: "zoom", role: "group", "aria-label": "Zoom" },
      button("+", "Zoom in", () => timeline.zoom(0.5)),
      button("\u2212", "Zoom out", () => timeline.zoom(2)),
      button("All", "Show all", () => timeline.show(0, timeline.horizon)),
      button("PNG", "Save this view as PNG", () => this.#save()),
    );
    const search = searchBox(this.page, {
      found: (hits) => {
        this.gantt.matches = hits;
        this.later();
      },
      choose: (i) => this.choose(i),
    });
    return node("div", { class: "bar" }, zoom, search, this.range);
  }

  // All ops as a table, for readers who cannot see the chart; made when it is opened.
  #listOfOps() {
    const body = node("div");
    const made = node("details", { class: "ops" }, node("summary", {}, "The ops as a table"), body);
    this.opList = { made, body };
    made.addEventListener("toggle", () => this.#fillList());
    return made;
  }

  #fillList() {
    const { plan, page } = this;
    const { made, body } = this.opList;
    if (!made.open) return;
    const { op } = plan;
    const order = op.start.map((_, i) => i).sort((a, b) => op.start[a] - op.start[b] || a - b);
    const rows = order.slice(0, LISTED_OPS).map((i) => {
      const name = node("button", { type: "button", class: "link", on: { click: () => this.choose(i) } }, breakable(page.name(i)));
      const length = op.end[i] - op.start[i];
      return [name, plan.devices[op.device[i]].id, page.moment(op.start[i], length), page.moment(op.end[i], length), page.time(length)];
    });
    const headings = [["op", true], ["device", true], ["start"], ["end"], ["takes"]];
    const rest = order.length - rows.length;
    const caption = rest > 0 ? `The first ${count(LISTED_OPS)} ops by start; ${count(rest)} more are in the schedule's file.` : "By start.";
    body.replaceChildren(table(headings, rows, { caption, rowHeads: true }));
  }

  #legend() {
    const { page, gantt, theme } = this;
    const models = page.models.map((model, j) => {
      const swatch = node("i", { class: "swatch", style: { background: theme.backgroundOf(j) } });
      const made = node("button", { type: "button", "aria-pressed": "true" }, swatch, node("bdi", {}, model.id));
      made.addEventListener("click", (event) => this.#chooseModel(j, event.ctrlKey || event.metaKey || event.shiftKey));
      return made;
    });
    this.modelButtons = models;
    this.criticalToggle = this.#toggle([node("i", { class: "swatch critical" }), "critical path"], (on) => {
      gantt.shown.critical = on;
      this.later();
    });
    this.transferToggle = this.#toggle([node("i", { class: "swatch transfer" }), "transfers"], (on) => {
      gantt.shown.transfers = on;
      gantt.layOut();
    });
    const marks = [this.criticalToggle, this.transferToggle, this.#key("idle", "idle")];
    const many = models.length > 24 ? " long" : "";
    return node("div", {}, node("div", { class: `legend${many}`, role: "group", "aria-label": "Models" }, models), node("div", { class: "legend" }, marks));
  }

  // Show one model alone, and all again by a second click; with Ctrl or Shift, hide or show one.
  #chooseModel(j, single) {
    const { hidden } = this.gantt;
    const { models } = this.page;
    if (single) {
      if (!hidden.delete(j)) hidden.add(j);
    } else {
      const alone = !hidden.has(j) && hidden.size === models.length - 1;
      hidden.clear();
      if (!alone) models.forEach((_, k) => k !== j && hidden.add(k));
    }
    this.modelButtons.forEach((button, k) => button.setAttribute("aria-pressed", String(!hidden.has(k))));
    this.later();
  }

  #toggle(content, act) {
    const made = node("button", { type: "button", "aria-pressed": "true" }, content);
    made.addEventListener("click", () => {
      const on = made.getAttribute("aria-pressed") !== "true";
      made.setAttribute("aria-pressed", String(on));
      act(on);
    });
    return made;
  }

  #memoryNote() {
    const alive =
      "Bytes alive at the same time: the weights placed on a device, outputs and received copies until they are last needed, and the workspaces of running ops.";
    return this.page.static_rule
      ? `${alive} Under the memory rule static the limit bounds more than that: all outputs at once, as in the table of devices.`
      : alive;
  }

  #key(kind, text) {
    return node("span", { class: "key" }, node("i", { class: `swatch ${kind}` }), text);
  }
}
