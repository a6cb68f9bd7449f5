// The body of a function that a test runs in a page.
const colours = (css) => [...css.matchAll(/rgba?\(([^)]*)\)/g)].map(([, inner]) => {
  const [r, g, b, a = 1] = inner.match(/[\d.]+/g).map(Number);
  return [r, g, b, a];
});
const over = ([r, g, b, a], back) => [r, g, b].map((c, k) => a * c + (1 - a) * back[k]);
const luminance = (rgb) => {
  const [r, g, b] = rgb.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ratio = (one, two) => {
  const [low, high] = [luminance(one), luminance(two)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
};
const ground = (one) => {
  if (!one) return [255, 255, 255];
  const [colour] = colours(getComputedStyle(one).backgroundColor);
  return !colour || colour[3] === 0 ? ground(one.parentElement) : colour[3] === 1 ? colour.slice(0, 3) : over(colour, ground(one.parentElement));
};
const opacity = (one) => (one ? Number(getComputedStyle(one).opacity) * opacity(one.parentElement) : 1);
const wrong = new Set();
const judge = (what, found, back, least, faded = 1) => {
  const most = Math.max(...found.map(([r, g, b, a]) => ratio(over([r, g, b, a * faded], back), back)));
  if (most < least) wrong.add(`${what}: ${most.toFixed(2)}`);
};
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const host = walk.currentNode.parentElement;
  if (!walk.currentNode.data.trim() || host.closest("script, noscript, title") || !host.checkVisibility()) continue;
  const style = getComputedStyle(host);
  const given = host instanceof SVGElement ? style.fill : style.color;
  // What is written into a bar of an SVG lies on the bar.
  const bar = host instanceof SVGElement && host.previousElementSibling?.matches("rect") ? host.previousElementSibling : null;
  const back = bar && style.pointerEvents === "none" ? colours(getComputedStyle(bar).fill)[0].slice(0, 3) : ground(host);
  judge(walk.currentNode.data, colours(given), back, 4.5, opacity(host));
}
for (const box of document.querySelectorAll("input")) {
  judge("placeholder", colours(getComputedStyle(box, "::placeholder").color), ground(box), 4.5);
}
const marks = ".swatch, .stack i, .meter i, .keys i, figure path, figure circle, figure rect, .axis";
for (const mark of document.querySelectorAll(marks)) {
  if (!mark.checkVisibility() || opacity(mark) < 1) continue; // switched off
  const style = getComputedStyle(mark);
  const sides = style.borderTopWidth === "0px" ? "" : style.borderTopColor;
  const drawn = mark instanceof SVGElement ? style.fill + style.stroke : style.backgroundColor + style.backgroundImage + sides + style.boxShadow;
  const back = ground(mark.matches(".meter i") ? mark.parentElement : mark.closest("section"));
  judge(`${mark.tagName} ${mark.getAttribute("class")} ${mark.title ?? ""}`, colours(drawn).filter((found) => found[3] > 0), back, 3);
}
// What canvases are painted with.
const probe = document.body.appendChild(document.createElement("i"));
const named = (css) => ((probe.style.color = css), colours(getComputedStyle(probe).color)[0]);
const card = named("var(--card)").slice(0, 3);
const { palette } = JSON.parse(document.getElementById("data").textContent);
for (const css of ["critical", "transfer", "limit", "curve", "idle"].map((name) => `var(--${name})`).concat(palette)) {
  judge(css, [named(css)], card, 3);
}
for (const css of ["text", "soft"]) judge(css, [named(`var(--${css})`)], card, 4.5);
probe.remove();
return [...wrong];
