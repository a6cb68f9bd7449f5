// Numbers as people read them, and elements. All text goes in as text, never as markup.

const DASH = "\u2013";

// The rules of numbers and times are those of `reports/digits.py`, of bytes those of
// `core/units.py`; a test compares them.

const DIGITS = 6;
const FLOAT_DIGITS = 16;
const PER_SECOND = { s: 1, ms: 1e3, us: 1e6, ns: 1e9 };

// Some significant digits, no zeros at the end, and nothing cut before the point.
function number(value, digits = DIGITS) {
  if (value === null || value === undefined || !Number.isFinite(value)) return DASH;
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-4 || size >= 1e12) return value.toExponential(digits - 1).replace(/\.?0*e/, "e");
  const decimals = Math.max(0, digits - 1 - magnitude(size));
  const text = value.toFixed(decimals);
  return decimals ? text.replace(/\.?0+$/, "") : text;
}

// Power of ten of a number's first digit.
function magnitude(size) {
  return Number(size.toExponential().split("e")[1]);
}

function count(value) {
  return value.toLocaleString("en");
}

function counted(value, what) {
  return `${count(value)} ${what}${value === 1 ? "" : "s"}`;
}

function bytes(value) {
  if (value === null || value === undefined) return DASH;
  let amount = value;
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    const text = amount.toFixed(unit === "B" ? 0 : 2);
    if (Math.abs(Number(text)) < 1024) return `${text} ${unit}`;
    amount /= 1024;
  }
  return `${amount.toFixed(2)} TiB`;
}

// The largest unit in which a time, or the largest of several, is at least 1:
// [what to divide by, name].
function timeUnit(largest, unit, digits = DIGITS) {
  if (!(unit in PER_SECOND) || !largest || !Number.isFinite(largest)) return [1, unit];
  for (const name of Object.keys(PER_SECOND)) {
    const divisor = PER_SECOND[unit] / PER_SECOND[name];
    if (Number(number(Math.abs(largest) / divisor, digits)) >= 1) return [divisor, name];
  }
  return [PER_SECOND[unit] / PER_SECOND.ns, "ns"];
}

function duration(value, unit, digits = DIGITS) {
  if (value === null || value === undefined || !Number.isFinite(value)) return DASH;
  const [divisor, name] = timeUnit(value, unit, digits);
  return `${number(value / divisor, digits)} ${name}`.trimEnd();
}

// A time a `span` of which has some digits, however late it is.
function moment(time, unit, span, digits = DIGITS) {
  if (!(Math.abs(time) > span && span > 0)) return duration(time, unit);
  const more = digits + magnitude(Math.abs(time)) - magnitude(span);
  return duration(time, unit, Math.max(DIGITS, Math.min(more, FLOAT_DIGITS)));
}

// Significant digits of a number's text, whatever its unit.
function digitsOf(text) {
  return text.replace(/[e ].*$/, "").replace(/[-.]/g, "").replace(/^0+|0+$/g, "");
}

// A number as an element with all of its digits as its tooltip.
function exactly(text, value, unit) {
  const known = value !== null && value !== undefined;
  return node("span", { class: "exact", title: known ? `${value} ${unit}`.trimEnd() : null }, text);
}

function percent(share) {
  if (share === null || share === undefined || !Number.isFinite(share)) return DASH;
  if (share > 0 && share < 5e-5) return "<0.01 %";
  return `${number(Math.round(share * 1e4) / 100)} %`;
}

// What float sums leave of a difference between times as long as `whole` is nothing.
function settled(value, whole) {
  return value !== null && Math.abs(value) <= 1e-9 * whole ? 0 : value;
}

function node(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  return fill(made, attributes, children);
}

function svgNode(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  return fill(made, attributes, children);
}

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, act] of Object.entries(value)) made.addEventListener(event, act);
    else if (name === "style") Object.assign(made.style, value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return made;
}

// A name that breaks behind its slashes, where it has to.
function breakable(text) {
  const parts = text.match(/[^/]+\/*|\/+/g) ?? [];
  return parts.flatMap((part, k) => (k ? [node("wbr"), part] : [part]));
}

// Put other things into an element; if the focus was in it, what `next` finds gets it, so that a
// reader with a keyboard stays there.
function refill(host, children, next) {
  const inside = host.contains(document.activeElement);
  host.replaceChildren(...children);
  if (inside) next()?.focus({ preventScroll: true });
}

// In the rows of a table: a cell of a row above reaches down to here.
const COVERED = Symbol("covered");
let tables = 0;

// Rows of [text, node or cell], under headings of [text, left?]; the first cell heads its
// row. `pick`: what a click on a row does, which something in it does by keyboard too.
function table(headings, rows, { caption = "Values", chosen = -1, pick = null } = {}) {
  const head = headings.map(([text, left]) => node("th", { scope: "col", class: left ? "left" : null }, text));
  const body = rows.map((cells, r) =>
    node(
      "tr",
      { class: [r === chosen && "chosen", pick && "pick"].filter(Boolean).join(" ") || null, on: pick ? { click: () => pick(r) } : null },
      cells.map((cell, c) => {
        if (cell === COVERED) return null;
        if (cell instanceof HTMLTableCellElement) return cell;
        const heads = c === 0;
        const left = headings[c][1];
        return node(heads ? "th" : "td", { scope: heads ? "row" : null, class: left ? "left" : null }, left && typeof cell === "string" ? breakable(cell) : cell);
      }),
    ),
  );
  // Beside the table and not in it: it does not scroll away with the columns.
  const id = `table-${(tables += 1)}`;
  const said = node("p", { class: "soft", id }, caption);
  const many = headings.length > 8 ? "many" : null;
  const made = node("table", { class: many, "aria-labelledby": id }, node("thead", {}, node("tr", {}, head)), node("tbody", {}, body));
  const scroller = node("div", { class: "table" }, made);
  cutting.observe(scroller);
  return node("div", { class: "tabled" }, said, scroller);
}

// A table that is wider than its place says so, and takes the focus, to be scrolled by keys. What is
// said changes heights, which a browser complains of before the next frame.
const cutting = new ResizeObserver((entries) => requestAnimationFrame(() => entries.forEach(({ target }) => tellCut(target))));

function tellCut(target) {
  const cut = target.scrollWidth > target.clientWidth + 1;
  target.parentElement?.classList.toggle("cut", cut);
  const given = { tabindex: "0", role: "group", "aria-label": "Table that scrolls sideways" };
  for (const [name, value] of Object.entries(given)) {
    if (cut) target.setAttribute(name, value);
    else target.removeAttribute(name);
  }
}

function terms(pairs) {
  return node(
    "dl",
    {},
    pairs.filter(Boolean).map(([term, text]) => [node("dt", {}, term), node("dd", {}, text)]),
  );
}

// Position of the first of ascending values that is above a limit; their number where none is.
function firstAbove(values, limit) {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] > limit) high = middle;
    else low = middle + 1;
  }
  return low;
}

// Round positions for about `wanted` marks on an axis from a to b, and for at least so many.
function ticks(a, b, wanted, least = 1) {
  const span = b - a;
  if (!(span > 0)) return [a];
  for (let more = wanted; ; more += 1) {
    const rough = span / Math.max(1, more);
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].find((m) => m * power >= rough * 0.999) * power;
    const found = [];
    for (let k = Math.ceil(a / step - 1e-9); k * step <= b + step * 1e-9; k += 1) found.push(k * step);
    if (found.length >= least || more > wanted + 8) return found;
  }
}
