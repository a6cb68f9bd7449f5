// All ops as a table, for readers who cannot see the chart; made when it is opened.

// Ops that the table lists.
const LISTED_OPS = 2000;

class OpList {
  constructor(page, choose) {
    Object.assign(this, { page, choose, plan: null });
    this.body = node("div");
    this.element = node("details", { class: "ops" }, node("summary", {}, "The ops as a table"), this.body);
    this.element.addEventListener("toggle", () => this.show(this.plan));
  }

  show(plan) {
    this.plan = plan;
    const { page } = this;
    if (!this.element.open || !plan) return;
    const { op } = plan;
    const order = op.start.map((_, i) => i).sort((a, b) => op.start[a] - op.start[b] || a - b);
    const rows = order.slice(0, LISTED_OPS).map((i) => {
      const name = node("button", { type: "button", class: "link", on: { click: () => this.choose(i) } }, breakable(page.name(i)));
      const length = op.end[i] - op.start[i];
      return [name, plan.devices[op.device[i]].id, page.moment(op.start[i], length), page.moment(op.end[i], length), page.time(length)];
    });
    const headings = [["op", true], ["device", true], ["start"], ["end"], ["takes"]];
    const rest = order.length - rows.length;
    const caption = rest > 0 ? `The first ${count(LISTED_OPS)} ops by start; ${count(rest)} more are in the schedule's file.` : "By start.";
    this.body.replaceChildren(table(headings, rows, { caption }));
  }
}
