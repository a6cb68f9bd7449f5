// What the colours of bars stand for: models, op types, or slack. Ops of one colour are a category.

const COLOURINGS = { model: "model", type: "op type", slack: "slack" };

class Colouring {
  constructor(page, theme, by) {
    Object.assign(this, { page, theme, by });
    this.label = { model: "Models", type: "Op types", slack: "Slack" }[by];
    this.names = this.#names();
    this.classes = new Map(); // of slack, by plan
  }

  // What this page can be coloured by.
  static offered(page) {
    const types = page.ops.types.length > 1;
    const slack = page.schedules.some((raw) => raw.slack);
    return Object.keys(COLOURINGS).filter((by) => by === "model" || (by === "type" ? types : slack));
  }

  #names() {
    const { page, by } = this;
    if (by === "model") return page.models.map((model) => model.id);
    if (by === "type") {
      const { types } = page.ops;
      const own = types.slice(0, page.colour_by.types).map((name) => name || "(no type)");
      const rest = types.length - own.length;
      return rest > 0 ? [...own, `${count(rest)} other types`] : own;
    }
    const edges = page.colour_by.slack_edges;
    const named = edges.map((edge) => `up to ${page.time(edge)}`);
    const last = edges.length ? `above ${page.time(edges[edges.length - 1])}` : "above 0";
    return ["no slack", ...named, last, "any: nothing waits for it"];
  }

  // The category of every op of a schedule.
  of(plan) {
    const { page, by } = this;
    if (by === "model") return page.ops.model;
    if (by === "type") {
      this.byType ??= page.ops.type.map((type) => Math.min(type, page.colour_by.types));
      return this.byType;
    }
    if (!this.classes.has(plan)) this.classes.set(plan, slackClasses(plan, page.colour_by.slack_edges));
    return this.classes.get(plan);
  }

  // Whether a category has one plain colour, and which; null: it is that of a model of that number.
  plain(category) {
    const { page, theme, by } = this;
    if (by === "model") return null;
    if (by === "type") return category < page.colour_by.types ? null : theme.transfer;
    const last = page.colour_by.slack_edges.length + 1;
    if (category > last) return theme.transfer;
    const scale = theme.sequential;
    return scale[Math.round((category * (scale.length - 1)) / last)];
  }

  fillOf(category, pen) {
    return this.plain(category) ?? this.theme.fillOf(category, pen);
  }

  backgroundOf(category) {
    return this.plain(category) ?? this.theme.backgroundOf(category);
  }

  inkOn(category) {
    const plain = this.plain(category);
    return plain ? inkFor(plain) : this.theme.inkOn(category);
  }
}

// 0: none; k: up to edge k; one more: above all; yet one more: nothing waits for the op.
function slackClasses(plan, edges) {
  const unknown = edges.length + 2;
  return plan.op.start.map((_, i) => {
    const slack = plan.slack ? plan.slack[i] : null;
    if (slack === null) return unknown;
    if (slack <= 0) return 0;
    const above = edges.findIndex((edge) => slack <= edge);
    return above < 0 ? edges.length + 1 : above + 1;
  });
}

// How the charts of a page are drawn, whichever schedule they show.
class Look {
  constructor(page, theme) {
    Object.assign(this, { page, theme });
    this.shown = { transfers: true, critical: true };
    this.matches = null; // ops that the search found
    this.moved = null; // ops that two schedules put on other devices
    this.onlyMoved = false;
    this.range = null; // {from, to}: the stretch with totals
    this.mark = null; // {from, to}: the stretch that is marked
    this.folded = new Set(); // kinds of devices
    this.colourBy("model");
  }

  colourBy(by) {
    this.colouring = new Colouring(this.page, this.theme, by);
    this.hidden = new Set(); // categories that are faded
  }

  // How strongly an op is drawn.
  alpha(i, category) {
    if (this.hidden.has(category)) return 0.1;
    if (this.onlyMoved && this.moved && !this.moved.has(i)) return 0.14;
    return this.matches && !this.matches.has(i) ? 0.22 : 1;
  }
}
