// Bars that are not drawn one by one.

const LEAST_SEEN = 1.5; // pixels

// Bars of a lane too narrow to be drawn one by one, by pixel column.
class ThinBars {
  constructor(left, width) {
    this.left = left;
    this.columns = Math.ceil(width);
    this.busy = null;
  }

  add(x, width, category, alpha) {
    if (!this.busy) {
      this.busy = new Float32Array(this.columns);
      this.most = new Float32Array(this.columns);
      this.category = new Int32Array(this.columns);
      this.alpha = new Float32Array(this.columns);
    }
    const column = Math.min(this.columns - 1, Math.floor(x - this.left));
    if (column < 0 || column >= this.columns) return;
    this.busy[column] += Math.max(width, 0.08);
    if (width >= this.most[column]) {
      this.most[column] = width;
      this.category[column] = category;
      this.alpha[column] = alpha;
    }
  }

  draw(pen, colouring, y, height) {
    if (!this.busy) return;
    for (let c = 0; c < this.columns; c += 1) {
      if (this.busy[c] === 0) continue;
      pen.globalAlpha = this.alpha[c] * (0.3 + 0.7 * Math.min(1, this.busy[c]));
      pen.fillStyle = colouring.fillOf(this.category[c], pen);
      pen.fillRect(this.left + c, y, 1, height);
    }
    pen.globalAlpha = 1;
  }
}

// Several lanes as one: how much of them is busy in each pixel column, and with what.
class Coverage {
  constructor(left, width, categories) {
    this.left = left;
    this.columns = Math.ceil(width);
    this.categories = categories;
    this.sums = Array.from({ length: 2 * categories }, () => null); // those that are faded come last
  }

  add(x, width, category, alpha) {
    const index = category + (alpha < 1 ? this.categories : 0);
    this.sums[index] ??= new Float32Array(this.columns);
    const sums = this.sums[index];
    const from = Math.max(0, x - this.left);
    const to = Math.min(this.columns, x + width - this.left);
    for (let c = Math.floor(from); c < to; c += 1) sums[c] += Math.min(to, c + 1) - Math.max(from, c);
  }

  // Stacked from the bottom, where `whole` lanes are the full height.
  draw(pen, colouring, y, height, whole) {
    const tops = new Float32Array(this.columns);
    // However little there is in a column, it can be seen.
    const scale = new Float32Array(this.columns).fill(height / whole);
    const total = new Float32Array(this.columns);
    for (const sums of this.sums) sums?.forEach((sum, c) => (total[c] += sum));
    total.forEach((sum, c) => {
      if (sum > 0 && sum * scale[c] < LEAST_SEEN) scale[c] = LEAST_SEEN / sum;
    });
    this.sums.forEach((sums, index) => {
      if (!sums) return;
      pen.globalAlpha = index < this.categories ? 1 : 0.2;
      pen.fillStyle = colouring.fillOf(index % this.categories, pen);
      let run = null; // columns of equal height are one rectangle
      const flush = () => run && run.high > 0.05 && pen.fillRect(this.left + run.from, y + height - run.top - run.high, run.to - run.from, run.high);
      for (let c = 0; c < this.columns; c += 1) {
        const high = Math.min(sums[c] * scale[c], height - tops[c]);
        if (run && Math.abs(run.high - high) < 0.01 && Math.abs(run.top - tops[c]) < 0.01) run.to = c + 1;
        else {
          flush();
          run = { from: c, to: c + 1, high, top: tops[c] };
        }
        tops[c] += high;
      }
      flush();
    });
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
