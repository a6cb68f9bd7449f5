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

function sameKinds(folded, usual) {
  return folded.size === usual.length && usual.every((kind) => folded.has(kind));
}

// Anything in it that is not there, or makes no sense, is left out.
function readAddress(text, { page, plans }) {
  const kinds = new Set(groupsOf(plans[0], page.folding).map((group) => group.kind));
  const given = new URLSearchParams(text.replace(/^#/, ""));
  const stretch = (name) => {
    const [from, to] = (given.get(name) ?? "").split(",").map(Number);
    return from < to ? { from, to } : null;
  };
  const place = (name) => {
    const k = Number(given.get(name) ?? NaN);
    return Number.isInteger(k) && k >= 0 && k < plans.length ? k : null;
  };
  const colour = given.get("colour");
  return {
    shown: stretch("t"),
    op: given.has("op") ? page.lowered.indexOf(given.get("op").toLowerCase()) : -1,
    schedule: place("schedule"),
    other: place("with"),
    colour: Colouring.offered(page).includes(colour) ? colour : null,
    folded: given.has("folded") ? given.getAll("folded").filter((kind) => kinds.has(kind)) : null,
    range: stretch("range"),
    mark: stretch("mark"),
  };
}
