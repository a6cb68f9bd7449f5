// What each card holds of a language model: a bar of weights, KV cache, buffers and what is free.

const CARD_ROW = 40;
const CARD_PARTS = [["weights", "weights", 0], ["kv", "KV cache", 1], ["buffers", "buffers", 6]];

function cardSection(page) {
  return page.schedules.some((raw) => raw.cards) ? section("cards", "Cards", node("div")) : null;
}

// What is said of the cards, and their bars; drawn again when the width or the theme changes.
function showCards(plan, theme, host) {
  const { page, cards } = plan;
  host.replaceChildren();
  if (!cards) return () => {};
  const said = [];
  if (cards.rate !== null) {
    said.push(`Predicted: ${number(cards.rate, 4)} tokens/s one after another, ${number(cards.pipelined, 4)} in a pipeline of requests, which ${cards.busiest} bounds.`);
  }
  const parts = cards.cards.filter((card) => card.load > 0).map((card) => `${page.time(card.load)} on ${card.id}`);
  const between = cards.makespan - cards.sum;
  if (between > 0) parts.push(`${page.time(between)} between them`);
  said.push(`The time of ${page.time(cards.makespan)} is ${parts.join(", ")}.`);
  const keys = CARD_PARTS.map(([, name, colour]) =>
    node("span", { class: "key" }, node("i", { class: "swatch", style: { background: theme.palette[colour % theme.palette.length] } }), name),
  );
  const figure = node("figure", { class: "wide" });
  host.append(node("p", {}, said.join(" ")), node("p", { class: "legend" }, keys), figure);
  const draw = () => drawCards(plan, theme, figure);
  draw();
  return draw;
}

function drawCards(plan, theme, figure) {
  const { cards } = plan.cards;
  const width = Math.max(220, figure.clientWidth || 300);
  const left = width < 560 ? 78 : 132;
  const held = (card) => card.weights + card.kv + card.buffers;
  const most = Math.max(1, ...cards.map((card) => held(card) + Math.max(0, card.free ?? 0)));
  const height = cards.length * CARD_ROW + 4;
  const across = new Scale(0, most, left, width - 12, false);
  const lineOf = (card) => {
    const free = card.free === null ? "no limit" : `${bytes(card.free)} free`;
    return `${bytes(held(card))}, ${free}${card.holds ? `: ${card.holds}` : ""}`;
  };
  const said = cards.map((card) => `${card.id} ${lineOf(card)}`).join("; ");
  const drawing = svgNode("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": `What each card holds: ${said}` });
  cards.forEach((card, row) => {
    const y = row * CARD_ROW + 2;
    drawing.append(svgNode("text", { x: 0, y: y + 14, "font-size": 12, fill: "var(--text)" }, shortened(card.id, left)));
    let from = 0;
    for (const [key, name, colour] of CARD_PARTS) {
      const x = across.at(from);
      from += card[key];
      const box = { x, y, width: Math.max(0, across.at(from) - x), height: 18, fill: theme.palette[colour % theme.palette.length] };
      drawing.append(svgNode("rect", box, svgNode("title", {}, `${name} on ${card.id}: ${bytes(card[key])}`)));
    }
    if (card.free !== null) {
      const x = across.at(from);
      const box = { x, y, width: Math.max(0, across.at(from + card.free) - x), height: 18, fill: "none", stroke: "var(--soft)" };
      drawing.append(svgNode("rect", box, svgNode("title", {}, `free on ${card.id}: ${bytes(card.free)}`)));
    }
    drawing.append(svgNode("text", { x: left, y: y + 31, "font-size": 11, fill: "var(--soft)" }, shortened(lineOf(card), width - left)));
  });
  figure.replaceChildren(drawing);
}
