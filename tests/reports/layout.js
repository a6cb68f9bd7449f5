// The body of a function that a test runs in a page; arguments[0]: longer words may be broken.
const wrong = [];
const root = document.documentElement;
const wide = root.scrollWidth - root.clientWidth;
if (wide > 0) wrong.push(`the page is ${wide} px too wide`);
const boxes = [];
const range = document.createRange();
const broken = (text) => {
  for (const { 0: word, index } of text.data.matchAll(/[^\s/\u2010-\u2015-]+/g)) {
    if (word.length > arguments[0] || /[^\x21-\x7e]/.test(word)) continue;
    range.setStart(text, index);
    range.setEnd(text, index + word.length);
    const tops = new Set([...range.getClientRects()].map((box) => Math.round(box.top)));
    if (tops.size > 1) wrong.push(`${word} is broken`);
  }
};
// What is left of a box of a text inside all that clips it; null: it is scrolled away.
const visible = (text, box) => {
  let { left, right } = box;
  for (let up = text.parentElement; up !== document.body; up = up.parentElement) {
    const { overflowX, textOverflow } = getComputedStyle(up);
    if (overflowX === "visible") continue;
    const around = up.getBoundingClientRect();
    const cut = right > around.right + 1 || left < around.left - 1;
    if (cut && overflowX === "hidden" && textOverflow !== "ellipsis") wrong.push(`${text.data} is cut`);
    [left, right] = [Math.max(left, around.left), Math.min(right, around.right)];
  }
  return right > left ? { left, right } : null;
};
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const text = walk.currentNode;
  const host = text.parentElement;
  if (!text.data.trim() || host.closest("script, select, noscript, title")) continue;
  if (!host.checkVisibility({ visibilityProperty: true })) continue;
  range.selectNodeContents(text);
  const rects = [...range.getClientRects()].filter((box) => box.width > 0 && box.height > 0);
  if (rects.length > 1) broken(text);
  const section = (host.closest("section") ?? document.body).getBoundingClientRect();
  for (const box of rects) {
    const seen = visible(text, box);
    if (!seen) continue;
    if (seen.left < section.left - 1 || seen.right > section.right + 1) wrong.push(`${text.data} leaves its section`);
    // Letters fill the middle of a line.
    const air = 0.16 * box.height;
    boxes.push({ text, ...seen, top: box.top + air, bottom: box.bottom - air });
  }
}
boxes.sort((a, b) => a.top - b.top);
boxes.forEach((a, k) => {
  for (let m = k + 1; m < boxes.length && boxes[m].top < a.bottom - 1; m += 1) {
    const b = boxes[m];
    const x = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    if (a.text !== b.text && x > 1) wrong.push(`${a.text.data} covers ${b.text.data}`);
  }
});
for (const table of document.querySelectorAll(".table")) {
  const cut = table.scrollWidth > table.clientWidth + 1 && table.checkVisibility();
  const hint = getComputedStyle(table.parentElement, "::after").content;
  if (cut !== hint.includes("scrolls")) wrong.push(`hint of ${table.textContent.slice(0, 40)}: ${hint}`);
}
return wrong;
