// The fleet as a picture: tiers from left to right (from top to bottom where the page is narrow), a card for each host, and
// what flows between them. Built anew only when hosts or width change; otherwise values change in place.

import { el, say, set, svg } from "./dom.js";
import { format } from "./format.js";
import { STATES, countsOf, sumOf, valueOf } from "./model.js";

const NARROW = 860;
// More hosts than this in one tier become cells with a name only, and more than that become dots.
const MOST_CARDS = 8;
const MOST_CELLS = 64;
const PAD = 10;
const HEAD = 30;
const GAP = 8;
const CARD = { height: 66, least: 176, most: 250, gap: GAP };
const CELL = { height: 23, least: 54, gap: 4, counts: 20 };
const DOT = { height: 11, least: 11, gap: 4, counts: 20 };
// A letter of a cell's name and of the counts below, and what a column of dots may take of the room between columns.
const LETTER = 6.3;
const DOTS_MOST = 560;
const LEAST_GAP = 76;
const CLIENTS = { width: 104, height: 60 };
const COLUMNS = [["load_balancers"], ["app_servers", "queue_workers"], ["mysql", "redis_cluster", "object_storage"]];
const STORES = COLUMNS[2];

/** Where everything stands: {width, height, clients, boxes: [{key, x, y, w, h, middle, cards: [{host, x, y, w, h}], small}]}. */
export function layout(tiers, width) {
  return width < NARROW ? stacked(tiers, width) : sideBySide(tiers, width);
}

const sizeFor = (tier) => (tier.hosts.length <= MOST_CARDS ? CARD : tier.hosts.length <= MOST_CELLS ? CELL : DOT);

function box(tier, x, y, w) {
  const size = sizeFor(tier);
  const least = size === CELL ? Math.max(size.least, 16 + LETTER * Math.max(...tier.hosts.map((host) => host.name.length))) : size.least;
  const perRow = Math.max(1, Math.floor((w - 2 * PAD + size.gap) / (least + size.gap)));
  const used = Math.min(perRow, tier.hosts.length);
  const each = (w - 2 * PAD - size.gap * (used - 1)) / used;
  const cards = tier.hosts.map((host, place) => ({
    host,
    x: x + PAD + (place % used) * (each + size.gap),
    y: y + HEAD + Math.floor(place / used) * (size.height + size.gap),
    w: each,
    h: size.height,
    size,
  }));
  const rows = Math.ceil(tier.hosts.length / used);
  const h = HEAD + rows * (size.height + size.gap) - size.gap + PAD + (size.counts ?? 0);
  // Where arrows meet it: its middle, but not far below where one looks first.
  return { ...tier, x, y, w, h, middle: Math.min(h / 2, 130), cards, small: size !== CARD };
}

function sideBySide(tiers, width) {
  const columns = COLUMNS.map((keys) => tiers.filter((tier) => keys.includes(tier.key)).sort((a, b) => keys.indexOf(a.key) - keys.indexOf(b.key)));
  const least = Math.min(CARD.most, (width - CLIENTS.width - 3 * LEAST_GAP) / 3 - 1);
  const spare = Math.max(0, width - CLIENTS.width - 3 * (LEAST_GAP + least) - 2);
  const dotted = columns.map((column) => column.some((tier) => sizeFor(tier) === DOT));
  const widths = dotted.map((one) => (one ? Math.min(DOTS_MOST, least + spare / dotted.filter(Boolean).length) : least));
  const gap = (width - CLIENTS.width - widths.reduce((sum, one) => sum + one) - 2) / 3;
  let x = CLIENTS.width;
  const boxes = [];
  let height = 0;
  columns.forEach((column, place) => {
    x += gap;
    let y = 1;
    for (const tier of column) {
      const made = box(tier, x, y, widths[place]);
      boxes.push(made);
      y += made.h + 22;
    }
    x += widths[place];
    height = Math.max(height, y - 22);
  });
  // What stands beside the way of a request (monitoring, tiers of one's own) fills the first column from below.
  for (const tier of tiers.filter((one) => !COLUMNS.flat().includes(one.key))) {
    const left = boxes.filter((one) => one.x < CLIENTS.width + gap + 1);
    const y = left.length ? Math.max(...left.map((one) => one.y + one.h)) + 40 : 1;
    boxes.push(box(tier, CLIENTS.width + gap, y, widths[0]));
    height = Math.max(height, y + boxes.at(-1).h);
  }
  const first = boxes.find((one) => one.key === "load_balancers") ?? boxes[0];
  const clients = { x: 1, y: first.y + first.middle - CLIENTS.height / 2, w: CLIENTS.width, h: CLIENTS.height };
  return { width, height: height + 1, clients, boxes, narrow: false };
}

function stacked(tiers, width) {
  const clients = { x: width / 2 - 70, y: 1, w: 140, h: CLIENTS.height };
  let y = CLIENTS.height + 34;
  const boxes = tiers.map((tier) => {
    const made = box(tier, 1, y, width - 2);
    y += made.h + (tier.key === "load_balancers" ? 34 : 18);
    return made;
  });
  return { width, height: y - 17, clients, boxes, narrow: true };
}

export class Picture {
  #place;
  #built = "";
  #updates = [];

  constructor(place) {
    this.#place = place;
  }

  draw(tiers, now, vip) {
    const width = Math.floor(this.#place.clientWidth - 32);
    if (width <= 0) return;
    const built = JSON.stringify([width, vip, tiers.map((tier) => [tier.key, tier.hosts.map((host) => host.name)])]);
    if (built !== this.#built) {
      this.#built = built;
      this.#updates = [];
      this.#place.replaceChildren(this.#build(layout(tiers, width), vip));
    }
    const hosts = new Map(tiers.flatMap((tier) => tier.hosts).map((host) => [host.name, host]));
    for (const update of this.#updates) update(hosts, now);
  }

  #build(plan, vip) {
    const root = svg("svg", { width: plan.width, height: plan.height, viewBox: `0 0 ${plan.width} ${plan.height}`, role: "group", "aria-label": "Tiers, their hosts, and the requests between them" });
    const arrows = svg("g", { class: "arrows" });
    root.append(arrows, this.#clients(plan.clients, vip));
    for (const one of plan.boxes) root.append(this.#tier(one, plan.narrow));
    for (const arrow of this.#arrows(plan)) arrows.append(arrow);
    return root;
  }

  #clients({ x, y, w, h }, vip) {
    const group = svg("g", { class: "clients" });
    group.append(
      svg("rect", { x, y, width: w, height: h, rx: 12 }),
      svg("text", { x: x + w / 2, y: y + 26, "text-anchor": "middle", class: "name" }, "Clients"),
      svg("text", { x: x + w / 2, y: y + 44, "text-anchor": "middle", class: "small" }, vip ?? ""),
    );
    return group;
  }

  #tier({ key, title, x, y, w, h, cards, small }, narrow) {
    const note = svg("text", { x: x + w - PAD, y: y + 20, "text-anchor": "end", class: "note", "data-testid": `note-${key}` });
    const group = svg("g", { class: "tier" }, svg("rect", { x, y, width: w, height: h, rx: 12 }), svg("text", { x: x + PAD + 2, y: y + 20, class: "title" }, title), note);
    for (const card of cards) group.append(small ? this.#cell(card) : this.#card(card, narrow));
    if (small) {
      const counts = svg("text", { x: x + PAD + 2, y: y + h - PAD, class: "note", "data-testid": `counts-${key}` });
      group.append(counts);
      this.#updates.push((hosts) => say(counts, fitting(countsOf(cards.map((card) => hosts.get(card.host.name))), w - 2 * PAD)));
    }
    this.#updates.push((hosts, now) => say(note, NOTES[key]?.(now) ?? ""));
    return group;
  }

  #link(host, ...children) {
    const link = svg("a", { class: "host", href: `#host-${host.name}`, "data-testid": `host-${host.name}` }, ...children);
    this.#updates.push((hosts) => {
      const current = hosts.get(host.name);
      set(link, "data-state", current.status);
      set(link, "data-role", current.role);
      set(link, "aria-label", describe(current));
    });
    return link;
  }

  #card({ host, x, y, w, h }, narrow) {
    const state = svg("text", { x: x + w - 10, y: y + 20, "text-anchor": "end", class: "state" });
    const role = svg("tspan", { class: "role", dx: 7 });
    const link = this.#link(
      host,
      svg("rect", { x, y, width: w, height: h, rx: 8, class: "face" }),
      svg("rect", { x: x + 1, y: y + 8, width: 4, height: h - 16, rx: 2, class: "edge" }),
      svg("text", { x: x + 14, y: y + 20, class: "name" }, host.name, role),
      state,
    );
    const bars = ["cpu", "memory"].map((what, place) => this.#bar(link, what, x + 14, y + 37 + place * 17, w - 24));
    this.#updates.push((hosts) => {
      const current = hosts.get(host.name);
      say(role, current.role ?? "");
      say(state, stateText(current, narrow));
      for (const bar of bars) bar(current);
    });
    return link;
  }

  #bar(link, what, x, y, w) {
    const from = x + 52;
    const length = w - 52 - 42;
    const used = svg("rect", { x: from, y: y - 3, width: 0, height: 6, rx: 3, class: "used" });
    const text = svg("text", { x: x + w, y: y + 4, "text-anchor": "end", class: "small number" });
    link.append(
      svg("text", { x, y: y + 4, class: "small" }, what === "cpu" ? "CPU" : "memory"),
      svg("rect", { x: from, y: y - 3, width: length, height: 6, rx: 3, class: "rail" }),
      used,
      text,
    );
    return (host) => {
      // What a host used before it stopped answering says nothing about now.
      const value = ["down", "gone"].includes(host.status) ? undefined : host[what];
      set(used, "width", (length * Math.min(1, Math.max(0, value ?? 0))).toFixed(1));
      set(used, "data-level", value >= 0.9 ? "high" : value >= 0.7 ? "raised" : "fine");
      say(text, format("x:ratio", value));
    };
  }

  #cell({ host, x, y, w, h, size }) {
    const title = svg("title");
    this.#updates.push((hosts) => say(title, describe(hosts.get(host.name))));
    if (size === DOT) return this.#link(host, title, svg("rect", { x, y, width: w, height: h, rx: 3, class: "edge dot" }));
    return this.#link(
      host,
      title,
      svg("rect", { x, y, width: w, height: h, rx: 6, class: "face" }),
      svg("rect", { x: x + 1, y: y + 5, width: 3, height: h - 10, rx: 1.5, class: "edge" }),
      svg("text", { x: x + w / 2 + 2, y: y + 15, "text-anchor": "middle", class: "small name" }, host.name),
    );
  }

  // --- what flows ---------------------------------------------------------------------------------------------------

  *#arrows({ clients, boxes, narrow }) {
    const at = Object.fromEntries(boxes.map((one) => [one.key, one]));
    const { load_balancers: balancers, app_servers: apps, queue_workers: workers } = at;
    const total = (_hosts, now) => sumOf(now, "fleet:requests:rate");
    const rate = (value) => format("x:rate", value);
    if (balancers) yield this.#arrow(clients, balancers, { narrow, value: total, text: rate, id: "clients" });
    const entry = balancers ?? clients;
    if (apps && (narrow || apps.small)) {
      yield this.#arrow(entry, apps, { narrow, value: total, text: rate, id: "app_servers" });
    } else if (apps) {
      for (const card of apps.cards) {
        const value = (hosts) => hosts.get(card.host.name).rate;
        const dead = (hosts) => ["down", "gone"].includes(hosts.get(card.host.name).status);
        const text = (current) => (current === undefined ? "" : rate(current));
        yield this.#arrow(entry, card, { value, text, dead, id: card.host.name });
      }
    }
    if (narrow) return;
    for (const [place, key] of STORES.entries()) {
      if (!at[key]) continue;
      const connections = key === "mysql" ? (_hosts, now) => sumOf(now, "fleet:database_connections:count") : () => undefined;
      const text = (value) => (value === undefined ? "" : `${format("x:count", value)} ${at[key].x - apps.x - apps.w > 120 ? "connections" : "conn."}`);
      if (apps) yield this.#arrow(apps, at[key], { value: connections, text, id: key, leave: (place - 1) * 14, quiet: true });
      if (workers) yield this.#arrow(workers, at[key], { value: () => undefined, text: () => "", id: `workers-${key}`, leave: (place - 1) * 14, arrive: 16, quiet: true });
    }
  }

  #arrow(from, to, { narrow = false, value, text, dead = () => false, id, leave = 0, arrive = 0, quiet = false }) {
    const [x1, y1] = narrow ? [from.x + from.w / 2, from.y + from.h] : [from.x + from.w, from.y + (from.middle ?? from.h / 2) + leave];
    const [x2, y2] = narrow ? [x1, to.y - 7] : [to.x - (to.host ? PAD + 8 : 7), to.y + (to.middle ?? to.h / 2) + arrive];
    const bend = (x2 - x1) / 2;
    const d = narrow ? `M${x1} ${y1}L${x2} ${y2}` : `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
    const tip = narrow ? `M${x2 - 5} ${y2}h10l-5 7z` : `M${x2} ${y2 - 5}v10l7-5z`;
    const flow = svg("path", { d, class: "flow" });
    const label = svg("text", {
      x: narrow ? x1 + 12 : x2 - 6,
      // On the side that the line does not come from.
      y: narrow ? (y1 + y2) / 2 + 6 : !quiet && y1 < y2 - 12 ? y2 + 17 : y2 - 7,
      "text-anchor": narrow ? "start" : "end",
      class: "rate",
      "data-testid": `rate-${id}`,
    });
    const group = svg("g", { class: quiet ? "arrow quiet" : "arrow" }, svg("path", { d, class: "way" }), flow, svg("path", { d: tip, class: "tip" }), label);
    this.#updates.push((hosts, now) => {
      const current = value(hosts, now);
      const moving = !quiet && current > 0 && !dead(hosts);
      set(group, "data-dead", dead(hosts) ? "yes" : null);
      set(flow, "data-speed", moving ? (current < 5 ? "slow" : current < 100 ? "even" : "fast") : null);
      set(flow, "stroke-width", moving ? (1.5 + Math.min(4, Math.log10(1 + current) * 1.3)).toFixed(1) : 0);
      set(label, "data-value", current ?? null);
      say(label, text(current));
    });
    return group;
  }
}

const NOTES = {
  app_servers: (now) => p95(now),
  queue_workers: (now) => {
    const waiting = sumOf(now, "fleet:queue_length:jobs");
    return waiting === undefined ? "" : `${format("x:jobs", waiting)} jobs wait`;
  },
  mysql: (now) => {
    const used = valueOf(now, "fleet:database_budget_used:ratio");
    return used === undefined ? "" : `${format("x:ratio", used)} of the budget`;
  },
  redis_cluster: (now) => {
    const pools = now.series.get("fleet:redis_slots_covered:count") ?? [];
    const open = pools.filter((pool) => pool.value < 16384).map((pool) => pool.labels.pool);
    if (!pools.length) return "";
    return open.length ? `slots open: ${open.join(", ")}` : "all slots covered";
  },
};

function p95(now) {
  const value = valueOf(now, "fleet:response_time_overall:p95_seconds");
  return value === undefined ? "" : `p95 ${format("x:seconds", value)}`;
}

/** The beginning of a sentence that has this room. */
function fitting(text, width) {
  const most = Math.floor(width / LETTER);
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/** Where all is well, there is room for what else is worth knowing. */
function stateText(host, narrow) {
  if (host.status === "ok" && host.role === "replica" && host.lag !== undefined) return `${format("x:seconds", host.lag)} behind`;
  // Without an arrow of its own, the requests stand here.
  if (host.status === "ok" && narrow && host.rate !== undefined) return format("x:rate", host.rate);
  return STATES[host.status];
}

function describe(host) {
  const parts = [host.name, host.role, STATES[host.status]];
  if (!["down", "gone"].includes(host.status)) {
    parts.push(`CPU ${format("x:ratio", host.cpu)}`, `memory ${format("x:ratio", host.memory)}`);
    if (host.rate !== undefined) parts.push(`${format("x:rate", host.rate)} requests`);
  }
  return parts.filter(Boolean).join(", ");
}

/** What the colours mean, in words beside the picture. */
export function legend(place) {
  place.replaceChildren(
    ...["ok", "busy", "ill", "drained", "down", "standby"].map((state) => el("span", { class: "key", "data-state": state }, STATES[state])),
  );
}
