// The buttons and boxes above the chart.

// What dragging over the chart does.
const DRAGS = {
  move: ["Move", "Dragging moves along"],
  select: ["Select", "Dragging selects a range of time and sums it up (Shift does so always)"],
  zoom: ["Box zoom", "Dragging zooms to what is dragged over (Ctrl or Alt does so always)"],
};

class Tools {
  constructor(board) {
    this.board = board;
    const { timeline, page, plans } = board;
    const button = (text, label, act) => node("button", { type: "button", "aria-label": label, title: label, on: { click: act } }, text);
    this.range = node("span", { class: "range", id: "range", "aria-live": "polite" });
    this.drags = Object.entries(DRAGS).map(([mode, [text, title]]) =>
      node("button", { type: "button", "data-mode": mode, title, "aria-pressed": "false", on: { click: () => this.drag(mode) } }, text),
    );
    const zoom = node(
      "div",
      { class: "zoom", role: "group", "aria-label": "Zoom" },
      button("+", "Zoom in", () => timeline.zoom(0.5)),
      button("\u2212", "Zoom out", () => timeline.zoom(2)),
      button("All", "Show all", () => timeline.show(0, timeline.horizon)),
    );
    const save = node(
      "div",
      { class: "zoom", role: "group", "aria-label": "Save this view" },
      button("PNG", "Save this view as PNG", () => board.savePng()),
      button("SVG", "Save this view as SVG", () => board.saveSvg()),
    );
    const search = searchBox(page, {
      found: (hits) => {
        board.look.matches = hits;
        board.later();
      },
      choose: (i) => board.choose(i),
    });
    const drags = node("div", { class: "zoom", role: "group", "aria-label": "What dragging does" }, this.drags);
    const first = node("div", { class: "bar" }, zoom, drags, search, save, this.range);
    this.folds = node("span", { class: "zoom", role: "group", "aria-label": "Devices by kind" });
    const second = node("div", { class: "bar" }, this.#colours(), plans.length > 1 ? this.#beside() : null, this.folds);
    this.element = node("div", {}, first, second);
    this.second = second;
    this.drag("move");
  }

  drag(mode) {
    this.mode = mode;
    this.drags.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.mode === mode)));
  }

  #colours() {
    const { board } = this;
    const offered = Colouring.offered(board.page);
    this.colour = node("select", { id: "colour", on: { change: () => board.colourBy(this.colour.value) } }, offered.map((by) => node("option", { value: by }, COLOURINGS[by])));
    return offered.length > 1 ? node("label", {}, node("span", {}, "Colour by"), this.colour) : null;
  }

  #beside() {
    const { board } = this;
    const options = ranked(board.plans).map((k) => node("option", { value: String(k) }, board.plans[k].label));
    this.beside = node("select", { id: "beside", on: { change: () => board.compare(this.beside.value === "" ? null : Number(this.beside.value)) } }, node("option", { value: "" }, "none"), options);
    return node("label", {}, node("span", {}, "Side by side with"), this.beside);
  }

  // What the boxes say, after what is shown has changed by other ways.
  sync() {
    const { board } = this;
    this.colour.value = board.look.colouring.by;
    if (this.beside) {
      this.beside.value = board.other === null ? "" : String(board.other);
      [...this.beside.options].forEach((option) => (option.disabled = option.value === String(board.at)));
    }
    this.folds.replaceChildren(...foldButtons(groupsOf(board.plan, board.page.folding), board.look.folded, (kind) => board.fold(kind)));
    this.second.hidden = ![...this.second.children].some((child) => child.childNodes.length > 0);
  }

  tellRange() {
    const { timeline, page } = this.board;
    const [from, to] = [timeline.from, timeline.to].map((time) => moment(time, page.unit, timeline.span));
    this.range.textContent = timeline.whole ? `all: ${from} to ${to}` : `${from} to ${to}`;
  }
}

// What the mouse, fingers and keys do in the chart.
const GESTURES = [
  ["drag", "move along, or what is chosen above"],
  ["Shift and drag, or drag over the time axis", "select a range of time and sum it up"],
  ["Ctrl or Alt and drag", "zoom to what is dragged over"],
  ["Ctrl and wheel, pinch, double click", "zoom; once the chart has the focus the wheel alone does"],
  ["click or tap", "all about an op; unfold devices"],
  ["point at idle time", "what is waited for"],
  ["w s, + \u2212", "zoom"],
  ["a d, \u2190 \u2192, Home End", "move"],
  ["0", "show all"],
  ["n p", "the next op, the one before"],
  ["f", "show the chosen op"],
  ["m", "mark the range, or else the chosen op; again: take the mark away"],
  ["r", "select what is marked, or else all that is shown; again: let go"],
  ["g", "fold and unfold kinds of devices"],
  ["Escape", "close the range, then the op"],
];

function keyHelp() {
  return node("details", { class: "help" }, node("summary", {}, "Mouse and keys"), node("div", { id: "gantt-keys" }, terms(GESTURES)));
}
