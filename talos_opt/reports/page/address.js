// What is shown, as the part of an address behind #, and back.

// t: the stretch of time that is shown; op: the one that is chosen; schedule, with: places of the
// schedules; colour: what is coloured by; folded: kinds of devices; range, mark: stretches of time.
function addressOf({ timeline, panes, page, plans, look, at, other, usual }) {
  const stretch = (name, { from, to }) => `${name}=${number(from, 10)},${number(to, 10)}`;
  const { selected } = panes[0].gantt;
  return [
    timeline.whole ? null : stretch("t", timeline),
    selected >= 0 ? `op=${encodeURIComponent(page.name(selected))}` : null,
    at === ranked(plans)[0] ? null : `schedule=${at}`,
    other === null ? null : `with=${other}`,
    look.colouring.by === "model" ? null : `colour=${look.colouring.by}`,
    sameKinds(look.folded, usual) ? null : [...look.folded, ...(look.folded.size ? [] : [""])].map((kind) => `folded=${encodeURIComponent(kind)}`).join("&"),
    look.range ? stretch("range", look.range) : null,
    look.mark ? stretch("mark", look.mark) : null,
  ].filter(Boolean).join("&");
}

// A page inside another one, such as a notebook, may have no address of its own.
function noteAddress(text) {
  try {
    history.replaceState(null, "", `#${text}`);
  } catch (error) {
    if (error.name !== "SecurityError") throw error;
  }
}

function sameKinds(folded, usual) {
  return folded.size === usual.length && usual.every((kind) => folded.has(kind));
}

// Anything in it that is not there, or makes no sense, is left out.
function readAddress(text, { page, plans, timeline }) {
  const kinds = new Set(groupsOf(plans[0], page.folding).map((group) => group.kind));
  const given = new URLSearchParams(text.replace(/^#/, ""));
  // Cut at the ends of all time. What is marked may take no time.
  const stretch = (name) => {
    const ends = (given.get(name) ?? "").split(",");
    if (ends.length !== 2 || ends.some((end) => !end.trim())) return null;
    const [from, to] = ends.map(Number);
    const there = from <= to && from <= timeline.horizon && to >= 0;
    return there ? { from: Math.max(0, from), to: Math.min(to, timeline.horizon) } : null;
  };
  const place = (name) => {
    const text = given.get(name) ?? "";
    return /^\d+$/.test(text) && Number(text) < plans.length ? Number(text) : null;
  };
  const colour = given.get("colour");
  return {
    shown: stretch("t"),
    op: given.has("op") ? page.find(given.get("op")) : -1,
    schedule: place("schedule"),
    other: place("with"),
    colour: Colouring.offered(page).includes(colour) ? colour : null,
    folded: given.has("folded") ? given.getAll("folded").filter((kind) => kinds.has(kind)) : null,
    range: stretch("range"),
    mark: stretch("mark"),
  };
}
