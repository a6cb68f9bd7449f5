// What is shown, as the part of an address behind #, and back.

// t: the stretch of time that is shown; op: the one that is chosen; schedule, with: places of the
// schedules; colour: what is coloured by; range, mark: stretches of time.
function addressOf({ timeline, panes, page, plans, look, at, other }) {
  const stretch = (name, { from, to }) => `${name}=${number(from, 10)},${number(to, 10)}`;
  const { selected } = panes[0].gantt;
  return [
    timeline.whole ? null : stretch("t", timeline),
    selected >= 0 ? `op=${encodeURIComponent(page.name(selected))}` : null,
    at === ranked(plans)[0] ? null : `schedule=${at}`,
    other === null ? null : `with=${other}`,
    look.colouring.by === "model" ? null : `colour=${look.colouring.by}`,
    look.range ? stretch("range", look.range) : null,
    look.mark ? stretch("mark", look.mark) : null,
  ].filter(Boolean).join("&");
}

// Anything in it that is not there, or makes no sense, is left out.
function readAddress(text, { page, plans }) {
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
    range: stretch("range"),
    mark: stretch("mark"),
  };
}
