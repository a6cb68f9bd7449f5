// What is told of a bar: in short while the pointer is over it, at length once it is chosen.

function shortOf(plan, found) {
  switch (found.kind) {
    case "op":
      return opInShort(plan, found.i);
    case "gap":
      return gapOf(plan, found.gap);
    case "group":
      return groupInShort(plan, found);
    default:
      return transferInShort(plan, found.i);
  }
}

// What devices that are folded do at a time.
function groupInShort(plan, { row: { folded }, time }) {
  const { page } = plan;
  const { group } = folded;
  if (folded.link) return [node("b", {}, `${group.name}: their links`), terms([["time", page.time(time)]])];
  const now = group.devices.map((d) => plan.running(d, time));
  const busy = now.filter(({ ops }) => ops.length > 0);
  const some = busy.flatMap(({ ops }) => ops).slice(0, 4).map((i) => page.name(i));
  const rest = busy.reduce((sum, { ops }) => sum + ops.length, 0) - some.length;
  return [
    node("b", {}, group.name),
    terms([
      ["time", page.time(time)],
      ["busy", `${count(busy.length)} of ${counted(group.devices.length, "device")}`],
      some.length ? ["running", `${some.join(", ")}${rest > 0 ? ` and ${count(rest)} more` : ""}`] : null,
    ]),
    node("p", {}, "A click unfolds them."),
  ];
}

function opInShort(plan, i) {
  const { page, op } = plan;
  const type = page.type(i);
  return [
    node("b", {}, page.name(i)),
    terms([
      type ? ["type", type] : null,
      page.origin(i) ? ["code", page.origin(i)] : null,
      ["device", plan.devices[op.device[i]].id + (op.lanes[i] > 1 ? `, ${op.lanes[i]} slots` : "")],
      ["start", page.moment(op.start[i], op.end[i] - op.start[i])],
      ["end", page.moment(op.end[i], op.end[i] - op.start[i])],
      ["takes", page.time(op.end[i] - op.start[i])],
      page.ops.output ? ["memory", memoryText(page, i)] : null,
    ]),
    ...(plan.why ? [node("p", {}, whyNow(plan, i))] : []),
    ...(page.ops.time ? [node("p", {}, whyHere(plan, i))] : []),
  ];
}

// Why slots of a device are free: what starts there next, and what that waits for.
function gapOf(plan, gap) {
  const { page } = plan;
  const what = (op, transfer) => (transfer < 0 ? page.name(op) : `the transfer of ${page.name(op)}`);
  return [
    node("b", {}, `${plan.devices[gap.device].id}: ${page.parts[gap.part].name}`),
    terms([
      ["from", page.moment(gap.start, gap.end - gap.start)],
      ["to", page.moment(gap.end, gap.end - gap.start)],
      ["lasts", page.time(gap.end - gap.start)],
      gap.slots > 1 ? ["slots", gap.slots] : null,
      gap.next_op >= 0 ? ["next", what(gap.next_op, gap.next_transfer)] : null,
      gap.by >= 0 ? ["waits for", what(gap.by, gap.transfer)] : null,
    ]),
  ];
}

function transferInShort(plan, i) {
  const { page, transfer } = plan;
  const devices = plan.devices;
  return [
    node("b", {}, `Transfer of ${page.name(transfer.op[i])}`),
    terms([
      ["from", devices[transfer.source[i]].id],
      ["to", devices[transfer.target[i]].id],
      ["bytes", bytes(transfer.bytes[i])],
      ["start", page.moment(transfer.start[i], transfer.end[i] - transfer.start[i])],
      ["end", page.moment(transfer.end[i], transfer.end[i] - transfer.start[i])],
      ["takes", page.time(transfer.end[i] - transfer.start[i])],
    ]),
    ...(plan.why ? [node("p", {}, whyMoved(plan, i))] : []),
  ];
}

function memoryText(page, i) {
  const parts = [["weights", "weights"], ["output", "output"], ["workspace", "workspace"]]
    .filter(([, key]) => page.ops[key][i] > 0)
    .map(([name, key]) => `${name} ${bytes(page.ops[key][i])}`);
  return parts.length ? parts.join(", ") : "none";
}

// Why an op started no sooner.
function whyNow(plan, i) {
  const { page, op, why } = plan;
  const device = plan.devices[op.device[i]].id;
  return reason(plan, {
    cause: page.causes[why.cause[i]],
    by: why.by[i],
    transfer: why.transfer[i],
    start: op.start[i],
    free: `${device} had a free slot`,
    room: device,
  });
}

// The same of a transfer.
function whyMoved(plan, i) {
  const { page, transfer, why } = plan;
  const [source, target] = [plan.devices[transfer.source[i]].id, plan.devices[transfer.target[i]].id];
  return reason(plan, {
    cause: page.causes[why.hop_cause[i]],
    by: why.hop_by[i],
    transfer: why.hop_transfer[i],
    start: transfer.start[i],
    free: `${source} and ${target} had free slots`,
    room: target,
  });
}

function reason({ page, devices, transfer }, { cause, by, transfer: move, start, free, room }) {
  const who = by >= 0 ? page.name(by) : "another op";
  const what = move >= 0 ? `the transfer of ${who}` : who;
  const at = page.time(start);
  switch (cause) {
    case "nothing":
      return "Nothing held it up: it started immediately.";
    case "release":
      return `It started when its model was released, at ${at}.`;
    case "input":
      return `It started when ${who} had been produced, at ${at}.`;
    case "transfer":
      return `It started when the output of ${who} arrived${move >= 0 ? ` from ${devices[transfer.source[move]].id}` : ""}, at ${at}.`;
    case "slot":
      return `It started when ${what} had ended and ${free}, at ${at}.`;
    case "link":
      return `It started when ${what} had left the link, at ${at}.`;
    case "memory":
      return `It started when memory came free on ${room}, as ${what} ended at ${at}.`;
    default:
      return "By the rules it alone could have started sooner: the order is the solver's choice.";
  }
}

// How its time here compares with the other devices', and what these were doing.
function whyHere(plan, i) {
  const { page, op } = plan;
  const here = op.device[i];
  const mine = page.timeOn(i, here);
  const others = plan.devices.map((_, d) => d).filter((d) => d !== here && page.timeOn(i, d) !== null);
  if (others.length === 0) return "No other device can run it.";
  const best = others.reduce((a, b) => (page.timeOn(i, b) < page.timeOn(i, a) ? b : a));
  const least = page.timeOn(i, best);
  const name = plan.devices[best].id;
  if (mine < least) {
    const factor = mine > 0 ? `, ${number(least / mine, 3)} times as long` : "";
    return `It is fastest here; ${name} would take ${page.time(least)}${factor}.`;
  }
  if (mine === least) return `It would take as long on ${name}.`;
  const factor = least > 0 ? ` (${number(mine / least, 3)} times faster)` : "";
  return `On ${name} it would take ${page.time(least)}${factor}. ${doing(plan, i, best)}`;
}

function doing(plan, i, device) {
  const { page } = plan;
  const ready = plan.readyAt(i);
  const now = plan.running(device, ready);
  const name = plan.devices[device].id;
  const when = `When its inputs had been produced, at ${page.time(ready)}, ${name}`;
  if (now.ops.length === 0) return `${when} was free.`;
  const some = now.ops.slice(0, 2).map((k) => page.name(k)).join(" and ");
  const more = now.ops.length > 2 ? ` and ${now.ops.length - 2} more` : "";
  return now.free > 0
    ? `${when} was running ${some}${more}, with ${now.free} free slot${now.free > 1 ? "s" : ""}.`
    : `${when} was running ${some}${more} until ${page.time(now.until)}.`;
}

// The panel of a chosen op.
function opAtLength(plan, i, { background, choose, close }) {
  const { page, op } = plan;
  const { ops } = page;
  const type = page.type(i);
  const facts = [
    ["model", page.models[ops.model[i]].id],
    type ? ["type", type] : null,
    page.origin(i) ? ["code", page.origin(i)] : null,
    ["device", plan.devices[op.device[i]].id],
    op.lanes[i] > 1 ? ["slots", String(op.lanes[i])] : null,
    ["start", page.moment(op.start[i], op.end[i] - op.start[i])],
    ["end", page.moment(op.end[i], op.end[i] - op.start[i])],
    ["takes", page.time(op.end[i] - op.start[i])],
    ops.output ? ["memory", memoryText(page, i)] : null,
    ops.group && ops.group[i] >= 0 ? ["colocated", `group ${ops.groups[ops.group[i]]}`] : null,
    ops.pin && ops.pin[i] >= 0 ? ["pinned to", ops.pins[ops.pin[i]].join(", ")] : null,
    plan.critical.op.has(i) ? ["critical path", "is on it"] : null,
    plan.slack ? ["slack", plan.slack[i] === null ? "any: nothing waits for it" : page.timed(settled(plan.slack[i], plan.horizon))] : null,
  ];
  const reasons = [plan.why ? whyNow(plan, i) : null, ops.time ? whyHere(plan, i) : null].filter(Boolean);
  const columns = [node("div", {}, terms(facts))];
  if (reasons.length) {
    columns.push(node("div", {}, node("b", {}, "Why here, why then"), reasons.map((text) => node("p", {}, text))));
  }
  if (ops.time) columns.push(node("div", {}, timesTable(plan, i)));
  if (ops.input_ptr) {
    columns.push(
      node("div", {}, neighbours(plan, "Reads", page.inputsOf(i), choose), neighbours(plan, "Read by", page.readersOf(i), choose)),
    );
  }
  const swatch = node("i", { class: "swatch", style: { background } });
  const button = node("button", { type: "button", on: { click: close }, "aria-label": "Close details" }, "Close");
  return [node("h3", {}, swatch, node("span", {}, breakable(page.name(i))), button), node("div", { class: "columns" }, columns)];
}

// Time on each device; devices with the same time share a row.
function timesTable(plan, i) {
  const { page, op } = plan;
  const alike = new Map();
  plan.devices.forEach((device, d) => {
    const key = `${page.ops.time_column[d]}`;
    if (!alike.has(key)) alike.set(key, { first: d, ids: [] });
    alike.get(key).ids.push(device.id);
  });
  const mine = page.timeOn(i, op.device[i]);
  const here = page.ops.time_column[op.device[i]];
  let chosen = -1;
  const rows = [...alike.values()].map(({ first, ids }, r) => {
    if (page.ops.time_column[first] === here) chosen = r;
    const time = page.timeOn(i, first);
    const names = ids.length > 3 ? `${ids[0]} to ${ids[ids.length - 1]} (${ids.length})` : ids.join(", ");
    const ratio = time !== null && mine > 0 ? `${number(time / mine, 3)}\u00d7` : DASH;
    return [names, time === null ? "cannot run" : page.timed(time), ratio];
  });
  return table([["device", true], ["time"], ["ratio"]], rows, { caption: "Its time on each device.", chosen });
}

function neighbours(plan, title, ops, choose) {
  if (ops.length === 0) return node("p", {}, node("b", {}, title), " nothing");
  const listed = ops.slice(0, 8).flatMap((k, n) => [
    n ? ", " : " ",
    node("button", { type: "button", class: "link", on: { click: () => choose(k) } }, breakable(plan.page.name(k))),
    ` (${plan.devices[plan.op.device[k]].id})`,
  ]);
  return node("p", {}, node("b", {}, title), listed, ops.length > 8 ? ` and ${ops.length - 8} more` : "");
}
