// Colours of the page, which follow the system or the reader, and of the models.

class Theme {
  constructor({ palette, sequential }) {
    this.palette = palette;
    this.scales = sequential;
    this.listeners = [];
    this.read();
    this.printing = false;
    window.addEventListener("beforeprint", () => this.#print(true));
    window.addEventListener("afterprint", () => this.#print(false));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.changed());
  }

  read() {
    const style = getComputedStyle(document.documentElement);
    const names = ["card", "text", "soft", "line", "idle", "grid", "accent", "critical", "transfer", "limit", "curve"];
    for (const name of names) this[name] = style.getPropertyValue(`--${name}`).trim();
    // Bars have the contrast with the card that they have in pictures, so lanes have its colour.
    this.lane = this.card;
    this.patterns = new Map();
  }

  // Paper is white, and as wide as `.sheet` says: all is drawn again for it.
  #print(printing) {
    const root = document.documentElement;
    if (printing && !this.printing) {
      this.before = root.dataset.theme;
      root.dataset.theme = "light";
    } else if (!printing && this.printing) {
      if (this.before) root.dataset.theme = this.before;
      else delete root.dataset.theme;
    }
    this.printing = printing;
    root.classList.toggle("sheet", printing);
    this.changed();
    const fit = () => window.dispatchEvent(new Event("resize"));
    fit();
    // Firefox tells that it has printed while the page is still as wide as the paper.
    if (!printing) requestAnimationFrame(fit);
  }

  changed() {
    this.read();
    for (const listener of this.listeners) listener();
  }

  get dark() {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }

  toggle() {
    document.documentElement.dataset.theme = this.dark ? "light" : "dark";
    this.changed();
  }

  // Fill of a model on a canvas: from the ninth model on, the colours come again with a hatch, which
  // pictures draw too.
  fillOf(model, context) {
    const colour = this.palette[model % this.palette.length];
    const turn = this.#turn(model);
    if (turn === 0) return colour;
    return this.#pattern(model, context, [colour, 4, context, this.#lineOn(model), turn]);
  }

  // The same for the background of an element.
  backgroundOf(model) {
    const colour = this.palette[model % this.palette.length];
    const lines = (angle, gap) => `repeating-linear-gradient(${angle}deg, ${this.#lineOn(model)} 0 1.2px, ${gap} 1.2px 5.6px)`;
    return [
      colour,
      lines(135, colour),
      lines(45, colour),
      `${lines(135, "transparent")}, ${lines(45, colour)}`,
    ][this.#turn(model)];
  }

  // Of a hatch: dark below light ink, so that names on it can be read.
  #lineOn(model) {
    return this.inkOn(model) === "#ffffff" ? "#00000099" : "#ffffffbb";
  }

  #turn(model) {
    return Math.floor(model / this.palette.length) % 4;
  }

  hatch(context) {
    return this.#pattern("idle", context, [this.lane, 4, context, this.idle]);
  }

  // Stripes are made once for all canvases; a file has its own.
  #pattern(key, context, given) {
    if (context.stripes) return stripes(...given);
    if (!this.patterns.has(key)) this.patterns.set(key, stripes(...given));
    return this.patterns.get(key);
  }

  inkOn(model) {
    return inkFor(this.palette[model % this.palette.length]);
  }

  // Colours of amounts; those that tell most come first.
  get sequential() {
    return this.scales[this.dark ? "dark" : "light"];
  }
}

// The ink that is read best on a colour #rrggbb: white or near-black.
function inkFor(colour) {
  const value = parseInt(colour.slice(1), 16);
  const linear = [value >> 16, (value >> 8) & 255, value & 255].map((c) => (c / 255) ** 2.2);
  const light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  // Contrast with white against contrast with near-black, by the definition of WCAG.
  return 1.05 / (light + 0.05) > (light + 0.05) / 0.057 ? "#ffffff" : "#10141a";
}

// Lines on a colour: rising (1), falling (2) or both (3).
function stripes(colour, width, context, gap, turn = 1) {
  if (context.stripes) return context.stripes({ colour, width, gap, turn });
  const size = width * 2;
  const tile = document.createElement("canvas");
  tile.width = tile.height = size;
  const pen = tile.getContext("2d");
  pen.fillStyle = colour;
  pen.fillRect(0, 0, size, size);
  pen.strokeStyle = gap;
  pen.lineWidth = 1.2;
  pen.beginPath();
  for (const shift of [-size, 0, size]) {
    if (turn !== 2) {
      pen.moveTo(shift - 1, size + 1);
      pen.lineTo(shift + size + 1, -1);
    }
    if (turn !== 1) {
      pen.moveTo(shift - 1, -1);
      pen.lineTo(shift + size + 1, size + 1);
    }
  }
  pen.stroke();
  return context.createPattern(tile, "repeat");
}
