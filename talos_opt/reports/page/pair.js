// Two schedules on one time scale: what one does otherwise than the other.

// Moved ops that are listed.
const LISTED_MOVES = 40;

// What differs: {ops: Set of those on another device, between: Map of "a b", two devices, to their
// number, retimed: number of others that start at another time}.
function changesOf(one, other) {
  const ops = new Set();
  const between = new Map();
  let retimed = 0;
  const slack = 1e-9 * Math.max(one.horizon, other.horizon);
  for (let i = 0; i < one.size; i += 1) {
    const [a, b] = [one.op.device[i], other.op.device[i]];
    if (a === b) {
      if (Math.abs(one.op.start[i] - other.op.start[i]) > slack) retimed += 1;
      continue;
    }
    ops.add(i);
    const key = `${a} ${b}`;
    between.set(key, (between.get(key) ?? 0) + 1);
  }
  return { ops, between, retimed };
}

function changeText(one, other, changes) {
  const { ops, between, retimed } = changes;
  const others = `${counted(retimed, "other op")} ${retimed === 1 ? "starts" : "start"} at another time`;
  if (ops.size === 0) return `All ops are on the same devices; ${others}.`;
  const places = [...between].sort((a, b) => b[1] - a[1]);
  const listed = places.slice(0, 6).map(([key, number]) => {
    const [a, b] = key.split(" ").map((d) => one.devices[d].id);
    return `${count(number)} from ${a} to ${b}`;
  });
  const rest = places.length > listed.length ? `, and ${count(places.length - listed.length)} more pairs of devices` : "";
  return `${count(ops.size)} of ${counted(one.size, "op")} ${ops.size === 1 ? "is" : "are"} on another device in ${other.label}: ${listed.join(", ")}${rest}. ${others[0].toUpperCase()}${others.slice(1)}.`;
}

// What differs, in words and as a table of the longest ops that moved.
function changePanel(one, other, changes, look, { choose, changed }) {
  const { page } = one;
  const only = toggle("Only ops on another device", (on) => {
    look.onlyMoved = on;
    changed();
  }, look.onlyMoved);
  const length = (plan, i) => plan.op.end[i] - plan.op.start[i];
  const moved = [...changes.ops].sort((a, b) => length(one, b) - length(one, a) || a - b);
  const rows = moved.slice(0, LISTED_MOVES).map((i) => [
    opLink(one, i, choose),
    ...[one, other].flatMap((plan) => [plan.devices[plan.op.device[i]].id, page.timed(length(plan, i)), page.momentOf(plan.op.start[i], plan.horizon)]),
  ]);
  const rest = moved.length - rows.length;
  const caption = `Ops on another device, the longest first, in ${one.label} and in ${other.label}${rest > 0 ? `; ${count(rest)} more are left out` : ""}.`;
  const headings = [["op", true], ["device", true], ["takes"], ["start"], ["device there", true], ["takes"], ["start"]];
  return [
    node("p", {}, changeText(one, other, changes)),
    moved.length ? node("p", {}, only) : null,
    moved.length ? node("details", { class: "moves" }, node("summary", {}, "What changed"), table(headings, rows, { caption })) : null,
  ].filter(Boolean);
}
