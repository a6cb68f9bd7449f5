// What the colours of the chart mean; a click on one shows it alone.

// Categories beyond which the legend scrolls.
const LONG = 24;

class Legend {
  // `changed`: what to do when the look has changed; `laidOut`: when lanes come or go.
  constructor(look, { changed, laidOut }) {
    Object.assign(this, { look, changed });
    this.colours = node("div", { class: "legend", role: "group" });
    const { shown } = look;
    this.critical = toggle([node("i", { class: "swatch critical" }), "critical path"], (on) => {
      shown.critical = on;
      changed();
    });
    this.transfers = toggle([node("i", { class: "swatch transfer" }), "transfers"], (on) => {
      shown.transfers = on;
      laidOut();
    });
    this.moved = legendKey("moved", "on another device");
    this.element = node("div", {}, this.colours, node("div", { class: "legend" }, this.critical, this.transfers, legendKey("idle", "idle"), this.moved));
  }

  // Made again when what is coloured by, or the theme, has changed.
  show(plans) {
    const { colouring } = this.look;
    const used = new Set(plans.flatMap((plan) => [...new Set(colouring.of(plan))]));
    this.buttons = new Map();
    colouring.names.forEach((name, category) => {
      if (colouring.by !== "model" && !used.has(category)) return;
      const swatch = node("i", { class: "swatch", style: { background: colouring.backgroundOf(category) } });
      const made = node("button", { type: "button" }, swatch, node("bdi", {}, name));
      made.addEventListener("click", (event) => this.#choose(category, event.ctrlKey || event.metaKey || event.shiftKey));
      this.buttons.set(category, made);
    });
    this.colours.replaceChildren(...this.buttons.values());
    this.colours.setAttribute("aria-label", colouring.label);
    this.colours.classList.toggle("long", this.buttons.size > LONG);
    this.moved.hidden = plans.length < 2;
    this.#press();
  }

  // Show one category alone, and all again by a second click; with Ctrl or Shift, hide or show one.
  #choose(category, single) {
    const { hidden } = this.look;
    const every = [...this.buttons.keys()];
    if (single) {
      if (!hidden.delete(category)) hidden.add(category);
    } else {
      const alone = !hidden.has(category) && hidden.size === every.length - 1;
      hidden.clear();
      if (!alone) every.forEach((other) => other !== category && hidden.add(other));
    }
    this.#press();
    this.changed();
  }

  #press() {
    this.buttons.forEach((button, category) => button.setAttribute("aria-pressed", String(!this.look.hidden.has(category))));
  }
}

function toggle(content, act, on = true) {
  const made = node("button", { type: "button", "aria-pressed": String(on) }, content);
  made.addEventListener("click", () => {
    const pressed = made.getAttribute("aria-pressed") !== "true";
    made.setAttribute("aria-pressed", String(pressed));
    act(pressed);
  });
  return made;
}

function legendKey(kind, text) {
  return node("span", { class: "key" }, node("i", { class: `swatch ${kind}` }), text);
}
