// The stretch of time that is shown, shared by the Gantt chart and the memory curves, and the
// gestures that change it: wheel, drag, pinch, buttons and keys.

// Share of all time that is shown at least: less could not be told apart in the numbers of an axis.
const LEAST_SHOWN = 1e-7;

class Timeline {
  constructor() {
    this.listeners = [];
    this.reset(1);
  }

  reset(horizon) {
    this.horizon = horizon;
    this.from = 0;
    this.to = horizon;
    this.changed();
  }

  get span() {
    return this.to - this.from;
  }

  get whole() {
    return this.span >= this.horizon * (1 - 1e-9);
  }

  // Narrow (below 1) or widen what is shown around a moment that stays in place.
  zoom(factor, at = (this.from + this.to) / 2) {
    const span = this.#allowed(this.span * factor);
    const share = (at - this.from) / this.span;
    this.show(at - share * span, at + (1 - share) * span);
  }

  pan(shift) {
    this.show(this.from + shift, this.to + shift);
  }

  // A stretch that is too short gets wider on both sides.
  show(from, to) {
    const span = this.#allowed(to - from);
    const start = span > to - from ? (from + to - span) / 2 : from;
    this.from = Math.min(Math.max(0, start), this.horizon - span);
    this.to = this.from + span;
    this.changed();
  }

  #allowed(span) {
    return Math.min(this.horizon, Math.max(this.horizon * LEAST_SHOWN, span));
  }

  changed() {
    for (const listener of this.listeners) listener();
  }
}

// Let gestures on a chart (TimeChart) steer its timeline, and tell what is pointed at. `mode` says
// what dragging does: "move", or choose a stretch of time ("select", "zoom"), which `stretch` gets.
function steer(chart, { hover, tap, mode = () => "move", stretch = () => {} }) {
  const { canvas, timeline } = chart;
  const pointers = new Map();
  let moved = 0;
  let drag = { mode: "move", from: 0 };
  const chosen = (x) => {
    const time = Math.min(Math.max(timeline.from, chart.timeAt(x)), timeline.to);
    return { from: Math.min(time, drag.from), to: Math.max(time, drag.from) };
  };
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };

  canvas.addEventListener(
    "wheel",
    (event) => {
      // The page scrolls, unless the chart is meant: it has the focus, or Ctrl is held.
      const meant = event.ctrlKey || event.metaKey || event.shiftKey || document.activeElement === canvas;
      if (!meant) return;
      const step = event.deltaMode === 1 ? 16 : 1;
      const sideways = event.shiftKey ? event.deltaX || event.deltaY : event.deltaX;
      if (Math.abs(sideways) > Math.abs(event.deltaY) || event.shiftKey) {
        timeline.pan(((sideways * step) / chart.plotWidth) * timeline.span);
      } else {
        // All is shown already: the page scrolls on.
        if (event.deltaY > 0 && timeline.whole) return;
        timeline.zoom(Math.exp(Math.max(-60, Math.min(60, event.deltaY * step)) * 0.006), chart.timeAt(place(event).x));
      }
      event.preventDefault();
    },
    { passive: false },
  );

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const here = place(event);
    pointers.set(event.pointerId, here);
    moved = pointers.size > 1 ? Infinity : 0;
    const from = Math.min(Math.max(timeline.from, chart.timeAt(here.x)), timeline.to);
    drag = { mode: pointers.size > 1 ? "move" : mode(event, here), from };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const now = place(event);
    const before = pointers.get(event.pointerId);
    if (!before) {
      if (event.pointerType === "mouse") hover(now);
      return;
    }
    moved += Math.abs(now.x - before.x) + Math.abs(now.y - before.y);
    if (pointers.size === 1) {
      if (moved < 4) return;
      canvas.classList.add("dragging");
      hover(null);
      if (drag.mode === "move") timeline.pan(((before.x - now.x) / chart.plotWidth) * timeline.span);
      else stretch(drag.mode, chosen(now.x), false);
    } else {
      const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
      const apart = Math.max(12, Math.abs(before.x - other.x));
      timeline.zoom(apart / Math.max(12, Math.abs(now.x - other.x)), chart.timeAt((now.x + other.x) / 2));
    }
    pointers.set(event.pointerId, now);
  });
  const release = (event) => {
    const held = pointers.delete(event.pointerId) && event.type === "pointerup";
    if (held && moved < 4) tap(place(event));
    else if (pointers.size === 0 && moved >= 4 && drag.mode !== "move") {
      // What the browser breaks off, such as to scroll, chooses nothing.
      stretch(drag.mode, held ? chosen(place(event).x) : { from: drag.from, to: drag.from }, true);
    }
    canvas.classList.remove("dragging");
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => hover(null));
  canvas.addEventListener("dblclick", (event) => timeline.zoom(0.4, chart.timeAt(place(event).x)));
}

// Keys of a focused chart; returns whether the key was one of them.
function steerByKey(event, timeline) {
  if (event.ctrlKey || event.altKey || event.metaKey) return false;
  const acts = {
    "+": () => timeline.zoom(0.6),
    "=": () => timeline.zoom(0.6),
    "-": () => timeline.zoom(1 / 0.6),
    0: () => timeline.show(0, timeline.horizon),
    w: () => timeline.zoom(0.6),
    s: () => timeline.zoom(1 / 0.6),
    a: () => timeline.pan(-timeline.span * 0.15),
    d: () => timeline.pan(timeline.span * 0.15),
    ArrowLeft: () => timeline.pan(-timeline.span * 0.15),
    ArrowRight: () => timeline.pan(timeline.span * 0.15),
    Home: () => timeline.pan(-timeline.horizon),
    End: () => timeline.pan(timeline.horizon),
  };
  const act = acts[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!act) return false;
  act();
  event.preventDefault();
  return true;
}
