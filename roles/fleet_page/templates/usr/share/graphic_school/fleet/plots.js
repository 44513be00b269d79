// The recorded series as plots: one for each name in series.json, loaded when it comes into view, then continued with every answer.
/* global uPlot */

import { STEP, lastHour } from "./api.js";
import { byId, el, keyed, say, set, svg } from "./dom.js";
import { clock, format, natural, title, unitOf, whole } from "./format.js";
import { columns, lineNames, stretches } from "./model.js";

const HOUR = 3600;
const MOST_LINES = 16;
const MOST_STRIPS = 24;
const RELOAD_AFTER = 300;
const WITHOUT_PLOT = ["info"];
const sync = { key: "fleet" };

export class Plots {
  #place;
  #plots = new Map();

  constructor(place) {
    this.#place = place;
    this.observer = new IntersectionObserver((entries) => {
      for (const entry of entries) entry.target.plot.visible = entry.isIntersecting;
      this.refresh();
    }, { rootMargin: "300px" });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      for (const plot of this.#plots.values()) plot.forget();
      this.refresh();
    });
    new ResizeObserver(() => this.#plots.forEach((plot) => plot.resize())).observe(place);
  }

  /** The list of series, as series.json has it. */
  show(catalogue) {
    const wanted = catalogue.filter(({ name }) => !WITHOUT_PLOT.includes(unitOf(name)));
    for (const heading of new Set(wanted.map(({ group }) => group))) {
      const grid = el("div", { class: "grid" });
      this.#place.append(el("h3", {}, heading ?? "Further"), grid);
      for (const series of wanted.filter(({ group }) => group === heading)) {
        const plot = new Plot(series);
        this.#plots.set(series.name, plot);
        grid.append(plot.node);
        this.observer.observe(plot.node);
      }
    }
  }

  /** A new answer of Prometheus. */
  continue(now) {
    this.now = now;
    for (const plot of this.#plots.values()) plot.continue(now);
    this.refresh();
  }

  refresh() {
    if (!this.now?.time) return;
    for (const plot of this.#plots.values()) if (plot.visible) plot.load(this.now);
  }
}

class Plot {
  lines = []; // [{labels, key, name, points: time → value}]
  visible = false;
  #chart = null;
  #loaded = 0; // when the hour was loaded, in Prometheus' time
  #last = 0; // newest point
  #loading = false;

  constructor({ name, about }) {
    this.name = name;
    this.area = el("div", { class: "area" });
    this.legend = el("ul", { class: "lines" });
    this.strips = el("div", { class: "strips" });
    this.yesOrNo = unitOf(name) === "bool";
    this.most = this.yesOrNo ? MOST_STRIPS : MOST_LINES;
    this.note = el("p", { class: "small" }, "");
    this.when = el("span", { class: "when" });
    this.node = el(
      "figure",
      { class: `card plot ${name.split(":")[1]}`, "data-testid": `plot-${name}` },
      el("figcaption", {}, el("strong", {}, title(name)), this.when, el("span", { class: "about" }, about ?? ""), el("code", {}, name)),
      ...(this.yesOrNo ? [this.strips, this.note] : [this.area, this.note, this.legend]),
    );
    this.node.plot = this;
  }

  /** Loads the last hour, where that has not been done, was long ago, or where answers are missing since. */
  async load(now) {
    const current = now.time - this.#last < 4 * STEP && now.time - this.#loaded < RELOAD_AFTER;
    if (this.#loading || current) return;
    this.#loading = true;
    try {
      this.count = now.series.get(this.name)?.length ?? 0;
      this.narrowed = this.count > this.most;
      const found = await lastHour(this.name, now.time, this.narrowed ? this.most : null);
      this.lines = found.map((line) => ({ ...line, key: JSON.stringify(line.labels) }));
      this.#loaded = now.time;
      this.#last = now.time;
      this.#take(now);
      set(this.node, "data-loaded", "yes");
      this.#draw();
    } catch (error) {
      say(this.note, `The last hour could not be read: ${error.message}.`);
    } finally {
      this.#loading = false;
    }
  }

  continue(now) {
    if (!this.#loaded || !now.time || now.time <= this.#last) return;
    if (now.time - this.#last < 4 * STEP) {
      this.#take(now);
      this.#last = now.time;
      if (this.visible) this.#draw();
    }
  }

  forget() {
    this.#chart?.destroy();
    this.#chart = null;
    this.#loaded = 0;
  }

  resize() {
    if (this.#chart && this.area.clientWidth) this.#chart.setSize({ width: this.area.clientWidth, height: this.#chart.height });
  }

  #take(now) {
    for (const { labels, value } of now.series.get(this.name) ?? []) {
      const key = JSON.stringify(labels);
      let line = this.lines.find((one) => one.key === key);
      if (!line && this.narrowed) continue;
      if (!line) this.lines.push((line = { labels, key, points: new Map() }));
      line.points.set(now.time, value);
      for (const time of line.points.keys()) if (time < now.time - HOUR) line.points.delete(time);
    }
    this.lines = this.lines.filter((line) => line.points.size);
    if (!this.narrowed) this.count = this.lines.length;
    if (this.count > this.most && !this.narrowed) this.#loaded = 0; // hosts came: Prometheus shall choose
    lineNames(this.lines).forEach((name, place) => (this.lines[place].name = name));
  }

  /** The lines in the order that they are drawn in; too many, after hosts have come, are left out until the next load. */
  #shown() {
    return [...this.lines].sort((a, b) => natural(a.name, b.name)).slice(0, this.most);
  }

  #draw() {
    const shown = this.#shown();
    const which = this.yesOrNo ? "that changed most or are unlike the others," : "highest";
    say(this.note, this.lines.length === 0 ? "No sample in the last hour." : shown.length < this.count ? `The ${shown.length} ${which} of ${whole(this.count)}.` : "");
    if (this.yesOrNo) return this.#drawStrips(shown);
    this.area.hidden = !shown.length;
    const built = JSON.stringify(shown.map((line) => line.key));
    const data = columns(shown, this.#last - HOUR);
    if (!this.#chart || built !== this.built) {
      this.#chart?.destroy();
      this.#chart = shown.length ? this.#make(shown, data) : null;
      this.built = built;
    } else {
      this.#chart.setData(data, false);
    }
    this.#chart?.setScale("x", { min: this.#last - HOUR, max: this.#last });
    this.drawn = shown;
    this.#tell();
  }

  /** Yes and no over time: a strip for each line, because lines at 0 and 1 would lie upon each other. */
  #drawStrips(shown) {
    const from = this.#last - HOUR;
    this.strips.replaceChildren(
      ...shown.flatMap((line) => {
        const rects = stretches(line.points, from, 2 * STEP).map(([begin, end, value]) =>
          svg("rect", { x: begin - from, width: Math.max(8, end - begin), y: 0, height: 10, class: value ? "yes" : "no" }),
        );
        const value = format(this.name, [...line.points.values()].at(-1));
        return [
          el("span", { class: "line-name" }, line.name),
          svg("svg", { class: "strip", viewBox: `0 0 ${HOUR} 10`, preserveAspectRatio: "none", role: "img", "aria-label": `${line.name}: now ${value}` }, ...rects),
        ];
      }),
      ...(shown.length ? [el("span", { class: "ends" }, el("span", {}, clock(from).slice(0, 5)), el("span", {}, clock(this.#last).slice(0, 5)))] : []),
    );
  }

  #make(shown, data) {
    const css = getComputedStyle(document.documentElement);
    const colour = (name) => css.getPropertyValue(name).trim();
    const axis = { stroke: colour("--muted"), font: "11px system-ui, sans-serif", grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
    const options = {
      width: this.area.clientWidth || 300,
      height: 150,
      legend: { show: false },
      cursor: { sync, y: false, points: { size: 6 }, drag: { x: false, y: false } },
      scales: { x: { time: true, auto: false }, y: { range: (_chart, low, high) => rangeOf(this.name, low, high) } },
      axes: [
        { ...axis, size: 26, space: 70, values: (_chart, ticks) => ticks.map((time) => clock(time).slice(0, 5)) },
        { ...axis, size: 62, space: 34, values: (_chart, ticks) => ticks.map((value) => format(this.name, value)) },
      ],
      series: [
        {},
        ...shown.map((line, place) => ({
          label: line.name,
          stroke: colour(`--line-${(place % 8) + 1}`),
          width: 1.6,
          dash: place >= 8 ? [5, 4] : undefined,
          points: { show: false },
        })),
      ],
      hooks: { setCursor: [(chart) => this.#tell(chart.cursor.idx)] },
    };
    return new uPlot(options, data, this.area);
  }

  /** Writes the values beneath the plot: those under the pointer, else the newest. */
  #tell(place = this.#chart?.cursor.idx) {
    const drawn = this.drawn ?? [];
    const data = this.#chart?.data;
    const pointed = data && place !== null && place !== undefined && this.#chart.cursor.left >= 0;
    say(this.when, pointed ? clock(data[0][place]) : "");
    keyed(
      this.legend,
      drawn.map((line, index) => ({ ...line, index, value: pointed ? data[index + 1][place] : line.points.get(this.#last) })),
      (line) => line.key,
      () => el("li", {}, el("span", { class: "swatch" }), el("span", { class: "line-name" }), el("span", { class: "number" })),
      (node, line) => {
        set(node, "class", `colour-${(line.index % 8) + 1}${line.index >= 8 ? " dashed" : ""}`);
        say(node.children[1], line.name);
        say(node.children[2], format(this.name, line.value));
        set(node.children[2], "data-value", line.value ?? null);
      },
    );
  }
}

/** Shares are drawn from 0 to at least 10 %, so that a quiet fleet looks quiet; the rest from 0 as well. */
function rangeOf(name, low, high) {
  const least = { ratio: 0.1, seconds: 0.01, count: 4, jobs: 4 }[unitOf(name).replace(/^p\d+_/, "")] ?? 1;
  if (low === null || high === null) return [0, least];
  return [Math.min(0, low), Math.max(least, high * 1.12)];
}

export const makePlots = () => new Plots(byId("plots"));
