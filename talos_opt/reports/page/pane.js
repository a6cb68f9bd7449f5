// One schedule's chart with what is told beside the pointer. A page has one, or two on one time scale.

class Pane {
  // `acts`: {choose(i), close(), hover(i), fold(kind), mode(), stretch(...), key(event)}.
  constructor(id, timeline, look, page, acts) {
    Object.assign(this, { page, look, timeline, acts });
    this.canvas = node("canvas", { id, tabindex: "0", role: "application", "aria-describedby": "gantt-keys" });
    this.tip = node("div", { class: "tip", role: "status", hidden: true });
    this.title = node("h3", { hidden: true });
    this.plot = node("div", { class: "plot" }, this.canvas, this.tip);
    this.element = node("div", {}, this.title, this.plot);
    this.gantt = new Gantt(this.canvas, timeline, look, page);
    steer(this.gantt, {
      hover: (place) => this.#hover(place),
      tap: (place) => this.#tap(place),
      mode: (event, place) => (place.y < AXIS ? "select" : acts.mode(event)),
      stretch: acts.stretch,
    });
    this.canvas.addEventListener("keydown", acts.key);
  }

  show(plan) {
    this.plan = plan;
    this.hide();
    this.gantt.show(plan);
    const which = this.page.schedules.length > 1 ? `${plan.label}: ` : "";
    this.canvas.setAttribute(
      "aria-label",
      `${which}Gantt chart of ${count(plan.size)} ops on ${plan.devices.length} devices over ${this.page.time(plan.horizon)}`,
    );
  }

  hide() {
    this.tip.hidden = true;
  }

  #hover(place) {
    const found = place && this.gantt.at(place);
    const folds = place && !found && this.gantt.foldAt(place);
    this.canvas.style.cursor = folds || (found && found.kind !== "gap") ? "pointer" : "";
    this.tip.hidden = !found;
    this.acts.hover(found?.kind === "op" ? found.i : -1);
    if (found) this.#tell(found, place);
  }

  #tell(found, place) {
    this.tip.hidden = false;
    this.tip.replaceChildren(...shortOf(this.plan, found));
    placeTip(this.tip, this.plot, place);
  }

  #tap(place) {
    const kind = this.gantt.foldAt(place);
    if (kind) {
      this.acts.fold(kind);
      return;
    }
    const found = this.gantt.at(place);
    if (found?.kind === "op") {
      this.acts.choose(found.i);
      return;
    }
    if (!found || found.kind === "gap") this.acts.close();
    if (found) this.#tell(found, place);
  }
}
