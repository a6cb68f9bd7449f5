// The box that finds ops by name, type or module.

const LISTED = 8;

function searchBox(page, { found, choose }) {
  const input = node("input", {
    type: "search",
    placeholder: "Find an op",
    "aria-label": "Find an op by name, type or module",
    role: "combobox",
    "aria-expanded": "false",
    "aria-controls": "hits",
    autocomplete: "off",
    spellcheck: "false",
  });
  const list = node("ul", { id: "hits", role: "listbox", "aria-label": "Ops found", hidden: true });
  let hits = [];
  let at = 0;

  const close = () => {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const take = (i) => {
    close();
    choose(i);
  };
  const show = () => {
    const shown = hits.slice(0, LISTED).map((i, k) => {
      const type = page.type(i);
      const attributes = { id: `hit-${k}`, role: "option", "aria-selected": String(k === at) };
      // Before the box loses the focus, which closes the list.
      const on = { pointerdown: (event) => (event.preventDefault(), take(i)) };
      const soft = [type, page.origin(i)].filter(Boolean).join(", ");
      return node("li", { ...attributes, on }, page.name(i), soft ? node("span", { class: "soft" }, ` ${soft}`) : null);
    });
    const rest = hits.length - shown.length;
    if (hits.length === 0) shown.push(node("li", { class: "soft" }, "No op has that in its name, type or module"));
    if (rest > 0) shown.push(node("li", { class: "soft" }, `and ${count(rest)} more`));
    list.replaceChildren(...shown);
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    if (hits.length) input.setAttribute("aria-activedescendant", `hit-${at}`);
  };
  const search = () => {
    const wanted = input.value.trim().toLowerCase();
    at = 0;
    if (!wanted) {
      hits = [];
      close();
      found(null);
      return;
    }
    hits = [];
    for (let i = 0; i < page.size; i += 1) {
      if ([page.lowered[i], page.type(i).toLowerCase(), page.origin(i).toLowerCase()].some((text) => text.includes(wanted))) hits.push(i);
    }
    // The exact name first, then names that end with it: op1 before op10.
    const rank = (i) => {
      const name = page.lowered[i];
      return name === wanted ? 0 : name.endsWith(`/${wanted}`) ? 1 : 2;
    };
    hits.sort((a, b) => rank(a) - rank(b) || a - b);
    found(new Set(hits));
    show();
  };
  input.addEventListener("input", search);
  input.addEventListener("focus", () => input.value.trim() && show());
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    const listed = Math.min(hits.length, LISTED);
    if (event.key === "Enter" && listed) take(hits[at]);
    else if (event.key === "Escape") {
      if (!list.hidden) close();
      else {
        input.value = "";
        search();
      }
    } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && listed) {
      at = (at + (event.key === "ArrowDown" ? 1 : listed - 1)) % listed;
      show();
    } else return;
    event.preventDefault();
  });
  return node("div", { class: "search" }, input, list);
}
