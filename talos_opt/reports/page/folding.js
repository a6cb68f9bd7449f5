// Devices of a kind as one lane and one memory curve: how charts of many devices stay readable.

// The kinds of which there are several devices: [{kind, name, devices}].
function groupsOf(plan, { least }) {
  const found = new Map();
  plan.devices.forEach((device, d) => {
    if (!found.has(device.kind)) found.set(device.kind, []);
    found.get(device.kind).push(d);
  });
  return [...found]
    .filter(([, devices]) => devices.length >= least)
    .map(([kind, devices]) => ({ kind, devices, name: `${kind} \u00d7 ${devices.length}` }));
}

// The kinds that are folded until a reader unfolds them.
function foldedAtFirst(plan, folding) {
  return new Set(plan.devices.length > folding.above ? groupsOf(plan, folding).map((group) => group.kind) : []);
}

// Buttons that fold and unfold kinds; without any, there is nothing to show.
function foldButtons(groups, folded, toggle) {
  return groups.map(({ kind, name }) => {
    const open = !folded.has(kind);
    const label = `${open ? "Fold" : "Unfold"} the devices of kind ${kind}`;
    const on = { click: () => toggle(kind) };
    return node("button", { type: "button", class: "fold", "data-kind": kind, "aria-expanded": String(open), title: label, on }, `${open ? "\u25be" : "\u25b8"} ${name}`);
  });
}

// Memory of a schedule with one curve for each folded kind: the most that any of its devices holds.
function foldedMemory(plan, groups, folded) {
  const groupOf = new Map();
  for (const group of groups) {
    if (folded.has(group.kind)) for (const d of group.devices) groupOf.set(d, group);
  }
  const made = new Map();
  const curves = [];
  for (const curve of plan.memory) {
    const group = groupOf.get(curve.device);
    if (!group) curves.push({ ...curve, label: plan.devices[curve.device].id });
    else if (!made.has(group)) {
      made.set(group, true);
      curves.push(mostHeld(plan.memory.filter((other) => groupOf.get(other.device) === group), group));
    }
  }
  return curves;
}

function mostHeld(curves, group) {
  const steps = curves.flatMap((curve, c) => curve.times.map((time, k) => [time, c, curve.bytes[k]])).sort((a, b) => a[0] - b[0]);
  const now = new Array(curves.length).fill(0);
  const folded = { device: curves[0].device, label: group.name, times: [], bytes: [], who: [] };
  steps.forEach(([time, c, held], k) => {
    now[c] = held;
    if (k + 1 < steps.length && steps[k + 1][0] === time) return;
    let most = 0;
    for (let other = 1; other < now.length; other += 1) if (now[other] > now[most]) most = other;
    if (folded.bytes.length && folded.bytes[folded.bytes.length - 1] === now[most]) return;
    folded.times.push(time);
    folded.bytes.push(now[most]);
    folded.who.push(curves[most].device);
  });
  const [limits, statics] = ["limit", "static"].map((name) => curves.map((curve) => curve[name]));
  folded.limit = limits.includes(null) ? null : extremes(limits)[0];
  folded.static = extremes(statics)[1] ?? null;
  return folded;
}
