// The Gantt chart with all that belongs to it: legend, buttons, search, details, memory curves.

class Board {
  constructor(page, theme, plans) {
    Object.assign(this, { page, theme, plans, at: -1, other: null });
    this.timeline = new Timeline();
    this.timeline.reset(Math.max(...plans.map((plan) => plan.horizon))); // one scale for all schedules
    this.look = new Look(page, theme);
    this.look.folded = foldedAtFirst(plans[0], page.folding);
    this.usual = [...this.look.folded];
    this.panes = [0, 1].map((k) => this.#pane(k));
    this.panes[0].tip.id = "tip";
    this.minimap = new Minimap(this.timeline, theme);
    this.memoryCanvas = node("canvas", { id: "memory", tabindex: "0", role: "application", "aria-label": "Memory held on each device over time", "aria-describedby": "memory-keys" });
    this.memory = new MemoryCurves(this.memoryCanvas, this.timeline, theme, page);
    this.memoryTip = node("div", { class: "tip", role: "status", hidden: true });
    this.memoryPlot = node("div", { class: "plot" }, this.memoryCanvas, this.memoryTip);
    this.details = node("div", { class: "details", id: "details", "aria-live": "polite", hidden: true });
    this.totals = node("div", { class: "details", id: "totals", role: "region", "aria-label": "Totals of the range", hidden: true });
    this.changes = node("div", { id: "changes-beside", hidden: true });
    this.legend = new Legend(this.look, { changed: () => this.later(), laidOut: () => this.#layOut() });
    this.tools = new Tools(this);
    this.opList = new OpList(page, (i) => this.choose(i));
    this.timeline.listeners.push(() => this.later());
    theme.listeners.push(() => {
      this.legend.show(this.#plansShown());
      this.redraw();
    });
    window.addEventListener("resize", () => this.resize());
    steer(this.memory, {
      hover: (place) => this.#hoverMemory(place),
      tap: (place) => this.#hoverMemory(place),
      mode: (event) => this.#mode(event),
      stretch: (mode, range, done) => this.#stretch(mode, range, done),
    });
    this.memoryCanvas.addEventListener("keydown", (event) => {
      if (steerByKey(event, this.timeline)) return;
      const place = event.key === "Escape" ? null : this.memory.readByKey(event);
      if (place || event.key === "Escape") this.#hoverMemory(place);
    });
  }

  #pane(k) {
    return new Pane(k ? "gantt-beside" : "gantt", this.timeline, this.look, this.page, {
      choose: (i) => this.choose(i, { reveal: false, pane: this.panes[k] }),
      close: () => this.close(),
      hover: (i) => this.#echo(k, i),
      fold: (kind) => this.fold(kind),
      mode: (event) => this.#mode(event),
      stretch: (mode, range, done) => this.#stretch(mode, range, done),
      key: (event) => this.#key(event, this.panes[k]),
    });
  }

  get plan() {
    return this.plans[this.at];
  }

  #plansShown() {
    return [this.at, this.other].filter((k) => k !== null).map((k) => this.plans[k]);
  }

  // The part of the page that this is.
  sections() {
    const gantt = node(
      "section",
      { "aria-labelledby": "gantt-title" },
      node("h2", { id: "gantt-title" }, "Schedule"),
      this.tools.element,
      this.legend.element,
      this.minimap.element,
      this.panes.map((pane) => pane.element),
      keyHelp(),
      this.changes,
      this.totals,
      this.details,
      this.opList.element,
    );
    this.limitKey = node("div", { class: "legend" }, legendKey("limit", "limit, where it is near"), legendKey("static", "what it bounds (rule static)"));
    this.emptyNote = node("p", { class: "soft" });
    this.foldNote = node("p", { class: "soft" }, "A curve of several devices is the most that any of them holds at each time.");
    this.memorySection = node(
      "section",
      { "aria-labelledby": "memory-title" },
      node("h2", { id: "memory-title" }, "Memory over time"),
      this.limitKey,
      this.memoryPlot,
      this.emptyNote,
      node("p", { class: "soft" }, this.#memoryNote()),
      this.foldNote,
      node("p", { class: "soft", id: "memory-keys" }, "With the chart in focus n and p go from change to change, up and down from device to device."),
    );
    return [gantt, this.memorySection];
  }

  // ---- which schedules are shown ---------------------------------------------------------------

  // Show a schedule; the one beside it changes places with it.
  show(k) {
    if (this.other === k) this.other = this.at;
    this.at = k;
    this.#showAll();
    this.shown?.(k);
  }

  // Show another schedule on the same time scale, or none.
  compare(k) {
    this.other = k === this.at ? null : k;
    this.#showAll();
  }

  #showAll() {
    const { plan, look, panes, legend } = this;
    const chosen = panes[0].gantt.selected;
    const beside = this.other === null ? null : this.plans[this.other];
    const changes = beside && changesOf(plan, beside);
    look.moved = changes && changes.ops;
    panes[1].element.hidden = !beside;
    this.#plansShown().forEach((shown, k) => {
      const { title } = panes[k];
      title.hidden = !beside;
      title.textContent = `${shown.label}: ${worth(this.page, this.page.objective, shown.facts.value)}`;
      panes[k].show(shown);
    });
    this.changes.hidden = !beside;
    if (beside) this.changes.replaceChildren(...changePanel(plan, beside, changes, look, { choose: (i) => this.choose(i), changed: () => this.later() }));
    legend.show(this.#plansShown());
    legend.critical.hidden = this.#plansShown().every((shown) => shown.critical.op.size === 0);
    legend.transfers.hidden = this.#plansShown().every((shown) => shown.transfer.start.length === 0);
    this.minimap.show(plan);
    this.opList.show(plan);
    this.#showMemory();
    this.#showTotals();
    this.tools.sync();
    this.close();
    if (chosen >= 0) this.choose(chosen, { reveal: false });
    this.tools.tellRange();
  }

  #showMemory() {
    const { plan, memory } = this;
    this.remembers = plan.memory.some((curve) => curve.bytes.some((held) => held > 0));
    this.memorySection.hidden = !this.remembers;
    if (!this.remembers) return;
    memory.show(plan, this.look.folded);
    this.foldNote.hidden = !memory.tracks.some((track) => track.who);
    this.limitKey.children[0].hidden = !memory.tracks.some((track) => track.near);
    this.limitKey.children[1].hidden = !memory.tracks.some((track) => track.static !== null);
    this.emptyNote.hidden = memory.empty.length === 0;
    this.emptyNote.textContent = `Nothing is ever held on ${memory.empty.join(", ")}.`;
  }

  colourBy(by) {
    this.look.colourBy(by);
    this.legend.show(this.#plansShown());
    this.tools.sync();
    if (this.panes[0].gantt.selected >= 0) this.choose(this.panes[0].gantt.selected, { reveal: false });
    this.later();
  }

  // Fold a kind of devices into one lane and one memory curve, or unfold it.
  fold(kind) {
    const { folded } = this.look;
    if (!folded.delete(kind)) folded.add(kind);
    this.#refold(kind);
  }

  #foldAll() {
    const kinds = groupsOf(this.plan, this.page.folding).map((group) => group.kind);
    const every = kinds.every((kind) => this.look.folded.has(kind));
    this.#foldTo(every ? [] : kinds);
  }

  #foldTo(kinds) {
    this.look.folded = new Set(kinds);
    this.#refold(null);
  }

  #refold(kind) {
    const focused = document.activeElement?.dataset?.kind;
    this.hide();
    this.#layOut();
    this.later();
    this.#showMemory();
    this.#showTotals();
    this.tools.sync();
    // The button that was pressed has been made again.
    if (focused && kind) this.tools.folds.querySelector(`[data-kind="${CSS.escape(kind)}"]`)?.focus();
  }

  // ---- drawing ----------------------------------------------------------------------------------

  #panesShown() {
    return this.other === null ? this.panes.slice(0, 1) : this.panes;
  }

  redraw() {
    for (const pane of this.#panesShown()) pane.gantt.draw();
    this.minimap.draw();
    if (this.remembers) this.memory.draw();
  }

  #layOut() {
    for (const pane of this.#panesShown()) pane.gantt.layOut();
  }

  // Once a frame, however many events there are.
  later() {
    if (this.waiting || this.at < 0) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.redraw();
      this.tools.tellRange();
      clearTimeout(this.noting);
      this.noting = setTimeout(() => noteAddress(addressOf(this)), 300);
    });
  }

  resize() {
    if (this.at < 0 || [this.panes[0].gantt, this.minimap.chart].every((chart) => chart.fits)) return;
    this.hide();
    this.#layOut();
    this.minimap.layOut();
    if (this.remembers) this.memory.layOut();
  }

  // ---- the op that is chosen ----------------------------------------------------------------------

  choose(i, { reveal = true, pane = this.panes[0] } = {}) {
    const { colouring } = this.look;
    for (const one of this.panes) one.gantt.selected = i;
    const { plan } = pane;
    if (reveal) this.#bringIntoView(plan.op.start[i], plan.op.end[i]);
    const background = colouring.backgroundOf(colouring.of(plan)[i]);
    const acts = { background, choose: (k) => this.choose(k, { pane }), close: () => this.close() };
    this.details.hidden = false;
    refill(this.details, opAtLength(plan, i, acts), () => this.details.querySelector("button"));
    this.hide();
    this.later();
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
    for (const { gantt } of this.panes) gantt.selected = -1;
    refill(this.details, [], () => this.panes[0].canvas);
    this.details.hidden = true;
    this.later();
  }

  hide() {
    for (const pane of this.panes) pane.hide();
    this.memoryTip.hidden = true;
  }

  // What is pointed at in one schedule is framed in the other.
  #echo(k, i) {
    if (this.other === null) return;
    const { gantt } = this.panes[1 - k];
    if (gantt.echo === i) return;
    gantt.echo = i;
    this.later();
  }

  // Show the chosen op, and a little around it.
  #fit({ gantt, plan }) {
    const { selected } = gantt;
    if (selected < 0) return;
    const { start, end } = plan.op;
    const length = Math.max(end[selected] - start[selected], plan.horizon * 1e-6);
    this.timeline.show(start[selected] - length, end[selected] + length);
  }

  // To the op that starts next, or before.
  #step(pane, by) {
    const { plan, gantt } = pane;
    const { start } = plan.op;
    plan.byStart ??= start.map((_, i) => i).sort((a, b) => start[a] - start[b] || a - b);
    const order = plan.byStart;
    const at = gantt.selected < 0 ? (by > 0 ? -1 : 0) : order.indexOf(gantt.selected);
    this.choose(order[(at + by + order.length) % order.length], { pane });
  }

  // ---- stretches of time --------------------------------------------------------------------------

  #mode(event) {
    if (event.shiftKey) return "select";
    if (event.altKey || event.ctrlKey || event.metaKey) return "zoom";
    return this.tools.mode;
  }

  // A stretch that is being dragged over, or has been.
  #stretch(mode, range, done) {
    const { look, timeline } = this;
    const some = range.to > range.from;
    if (mode === "select") {
      look.range = some ? range : null;
      if (done) this.#showTotals();
    } else {
      look.box = done ? null : range;
      if (done && some) timeline.show(range.from, range.to);
    }
    this.later();
  }

  #select(range) {
    this.look.range = range;
    this.#showTotals();
    this.later();
  }

  #showTotals() {
    const { look, totals } = this;
    if (!look.range) refill(totals, [], () => this.panes[0].canvas);
    totals.hidden = !look.range;
    if (!look.range) return;
    const acts = {
      zoom: () => this.timeline.show(look.range.from, look.range.to),
      mark: () => this.#mark(),
      close: () => this.#select(null),
    };
    const panel = rangePanel(this.page, look.range, this.#plansShown(), look.folded, acts);
    refill(totals, panel.flat(2).filter(Boolean), () => totals.querySelector("button"));
  }

  // Mark the range, or else the chosen op; take the mark away where it is that already.
  #mark({ plan, gantt } = this.panes[0]) {
    const { look } = this;
    const { selected } = gantt;
    const chosen = selected >= 0 ? { from: plan.op.start[selected], to: plan.op.end[selected] } : null;
    const wanted = look.range ?? chosen;
    const same = wanted && look.mark && wanted.from === look.mark.from && wanted.to === look.mark.to;
    look.mark = same ? null : wanted && { ...wanted };
    this.later();
  }

  #key(event, pane) {
    if (steerByKey(event, this.timeline)) return;
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const { look, timeline } = this;
    const acts = {
      Escape: () => (look.range ? this.#select(null) : this.close()),
      f: () => this.#fit(pane),
      n: () => this.#step(pane, 1),
      p: () => this.#step(pane, -1),
      m: () => this.#mark(pane),
      r: () => this.#select(look.range ? null : { ...(look.mark ?? { from: timeline.from, to: timeline.to }) }),
      g: () => this.#foldAll(),
    };
    acts[event.key.length === 1 ? event.key.toLowerCase() : event.key]?.();
  }

  // ---- links and files ----------------------------------------------------------------------------

  // Show what an address says, and nothing of what was chosen before.
  follow(text) {
    const given = readAddress(text, this);
    const { look, timeline } = this;
    const at = given.schedule ?? ranked(this.plans)[0];
    const other = given.other === at ? null : given.other;
    this.close();
    look.mark = given.mark;
    look.range = given.range;
    if ((given.colour ?? "model") !== look.colouring.by) this.colourBy(given.colour ?? "model");
    if (at !== this.at) this.show(at);
    if (other !== this.other) this.compare(other);
    const folded = given.folded ?? this.usual;
    if (!sameKinds(look.folded, folded)) this.#foldTo(folded);
    this.#showTotals();
    if (given.op >= 0) this.choose(given.op, { reveal: false });
    const { from, to } = given.shown ?? { from: 0, to: timeline.horizon };
    timeline.show(from, to);
  }

  get #fileName() {
    return this.page.title.replace(/[^\p{L}\p{N}._-]+/gu, "_") || "schedule";
  }

  savePng() {
    const { theme } = this;
    const canvases = this.#panesShown().map((pane) => pane.canvas);
    const copy = Object.assign(document.createElement("canvas"), {
      width: canvases[0].width,
      height: canvases.reduce((sum, canvas) => sum + canvas.height, 0),
    });
    const pen = copy.getContext("2d");
    pen.fillStyle = theme.card;
    pen.fillRect(0, 0, copy.width, copy.height);
    let y = 0;
    for (const canvas of canvases) {
      pen.drawImage(canvas, 0, y);
      y += canvas.height;
    }
    copy.toBlob((blob) => download(blob, `${this.#fileName}.png`));
  }

  saveSvg() {
    const { page, theme, look, legend, timeline } = this;
    const { colouring } = look;
    const panes = this.#panesShown();
    const span = [timeline.from, timeline.to].map((time) => moment(time, page.unit, timeline.span)).join(" to ");
    const text = svgFile({
      title: page.title,
      description: `${panes.map((pane) => pane.canvas.getAttribute("aria-label")).join(". ")}. Shown: ${span}.`,
      charts: panes.map((pane) => ({ chart: pane.gantt, heading: panes.length > 1 ? pane.title.textContent : null })),
      legend: [
        ...[...legend.buttons.keys()].map((category) => ({ name: colouring.names[category], fill: (pen) => colouring.fillOf(category, pen) })),
        { name: "idle", fill: (pen) => theme.hatch(pen) },
        look.shown.critical && !legend.critical.hidden ? { name: "critical path", fill: () => "none", stroke: theme.critical } : null,
      ].filter(Boolean),
      theme,
    });
    download(new Blob([text], { type: "image/svg+xml" }), `${this.#fileName}.svg`);
  }

  // ---- memory ---------------------------------------------------------------------------------------

  #hoverMemory(place) {
    const found = place && this.memory.at(place);
    this.memoryTip.hidden = !found;
    if (!found) return;
    const { track, time, held, who } = found;
    const limit = track.limit === null ? "no limit" : bytes(track.limit);
    this.memoryTip.replaceChildren(
      node("b", {}, track.label),
      terms([["time", this.page.time(time)], who && ["fullest", who], ["held", bytes(held)], track.static !== null && ["static", bytes(track.static)], ["limit", limit]]),
    );
    placeTip(this.memoryTip, this.memoryPlot, place);
  }

  #memoryNote() {
    const alive =
      "Bytes alive at the same time: the weights placed on a device, outputs and received copies until they are last needed, and the workspaces of running ops.";
    return this.page.static_rule
      ? `${alive} Under the memory rule static the limit bounds more than that: all outputs at once, as in the table of devices.`
      : alive;
  }
}
