// Puts the page together from its data.

function start() {
  const page = new Page(JSON.parse(document.getElementById("data").textContent));
  const theme = new Theme(page);
  const plans = page.schedules.map((raw) => new Plan(page, raw));
  const board = new Board(page, theme, plans);
  const main = document.querySelector("main");
  const redraws = [];
  const top = node("section", { id: "headline", "aria-label": "Result" });
  const report = page.kind === "report";
  const devices = report ? section("devices", "Devices", node("div")) : null;
  const timed = whereSection(page);
  const weighed = weightSection(page);
  const helpful = report && page.changes ? changeSection(page) : null;
  const choose = (i) => {
    board.choose(i);
    document.getElementById("details").scrollIntoView({ block: "center" });
  };
  const stepped = report ? stepSection(page) : null;
  const carded = report ? cardSection(page) : null;
  let redrawStep = () => {};
  let redrawCards = () => {};
  const compared = report ? section("solvers", plans.length > 1 ? "Comparison" : "Search", node("div")) : null;

  board.shown = (k) => {
    const plan = plans[k];
    top.replaceChildren(...headline(plan).filter(Boolean));
    devices?.lastChild.replaceChildren(deviceTable(plan));
    if (timed) showWhere(plan, timed.lastChild, choose);
    if (weighed) showWeights(plan, weighed.lastChild, choose);
    if (stepped) redrawStep = showStep(plan, theme, stepped.lastChild);
    if (carded) redrawCards = showCards(plan, theme, carded.lastChild);
    const rows = compared?.children[1];
    if (rows) refill(rows, [comparison(page, plans, k, (other) => board.show(other))], () => rows.querySelector("[aria-current]"));
    const select = document.getElementById("schedule");
    if (select) select.value = String(k);
  };

  const [schedule, memory] = board.sections();
  main.append(...[top, schedule, timed, helpful, memory].filter(Boolean));
  if (report) {
    main.append(...[devices, weighed, carded, stepped, compared].filter(Boolean));
    redraws.push(() => redrawStep());
    redraws.push(() => redrawCards());
    const logged = plans.filter((plan) => plan.history.length > 0);
    const host = node("div", { class: "figures" });
    compared.append(host);
    if (logged.length) redraws.push(progress(page, logged, theme, host));
    if (logged.length < plans.length) {
      const silent = plans.filter((plan) => plan.history.length === 0).map((plan) => plan.label);
      compared.append(node("p", { class: "soft" }, `No history of the search is stated by ${silent.join(", ")}.`));
    }
    main.append(speedupSection(page, theme, redraws, choose), problemSection(page));
  }
  header(page, plans, theme, (k) => board.show(k));
  board.show(ranked(plans)[0]);
  for (const draw of redraws) draw(); // now that the widths are known
  theme.listeners.push(() => redraws.forEach((draw) => draw()));
  let width = main.clientWidth;
  window.addEventListener("resize", () => {
    if (main.clientWidth === width) return;
    width = main.clientWidth;
    redraws.forEach((draw) => draw());
  });
  board.follow(location.hash);
  window.addEventListener("hashchange", () => board.follow(location.hash));
  document.documentElement.dataset.ready = "true";
}

function speedupSection(page, theme, redraws, pick) {
  const figures = node("div", { class: "figures" });
  const made = section("speedups", "Speedups of the ops");
  if (page.speedups.length === 0) {
    made.append(node("p", { class: "soft" }, page.no_speedups));
    return made;
  }
  made.append(figures);
  const most = 12;
  const draw = (entries) => {
    for (const entry of entries) redraws.push(speedupChart(page, entry, theme, figures, pick));
  };
  draw(page.speedups.slice(0, most));
  const rest = page.speedups.slice(most);
  if (rest.length) {
    const more = node("button", { type: "button" }, `Show ${rest.length} more models`);
    more.addEventListener("click", () => {
      more.remove();
      draw(rest);
    });
    made.append(more);
  }
  return made;
}

function header(page, plans, theme, show) {
  const bar = document.querySelector("header");
  bar.append(node("h1", {}, page.title, node("small", {}, page.subtitle)));
  if (plans.length > 1) {
    const options = ranked(plans).map((k, place) => {
      const { label, facts } = plans[k];
      const text = `${label}: ${worth(page, page.objective, facts.value)}`;
      return node("option", { value: String(k) }, place ? text : `${text} (best)`);
    });
    const select = node("select", { id: "schedule", on: { change: (event) => show(Number(event.target.value)) } }, options);
    bar.append(node("label", {}, node("span", {}, "Schedule"), select));
  }
  const text = () => (theme.dark ? "Light" : "Dark");
  const toggle = node("button", { type: "button", id: "theme", "aria-label": "Switch between light and dark" }, text());
  toggle.addEventListener("click", () => theme.toggle());
  theme.listeners.push(() => toggle.replaceChildren(text()));
  bar.append(toggle);
}

start();
