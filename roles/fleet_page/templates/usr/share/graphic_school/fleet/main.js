// Asks every 5 s, and hands what came to those who show it.

import * as api from "./api.js";
import { byId, say, set } from "./dom.js";
import { clock, duration } from "./format.js";
import { hostsOf, tiersOf, verdictOf } from "./model.js";
import { Picture, legend } from "./picture.js";
import { makePlots } from "./plots.js";
import * as tables from "./tables.js";

const EVERY_MS = 5000;
const OLD = 30; // s: data older than this no longer say how the fleet is
const SILENT = 15; // s: the same where Prometheus does not answer at all

const picture = new Picture(byId("picture"));
const plots = makePlots();
// What was last read of each source, and why the last attempt failed where it did.
const last = { now: null, alerts: [], fleet: null, decisions: null };
const trouble = {};
let received = 0; // when the last answer of Prometheus came, by this machine's clock, in ms
let timer;

const elapsed = () => (performance.now() - received) / 1000;
/** Now, by Prometheus' clock. */
const serverTime = () => (last.now?.time ? last.now.time + elapsed() : Date.now() / 1000);
const age = () => (last.now?.age === null || !last.now ? null : last.now.age + elapsed());

async function read(what) {
  try {
    last[what] = await api[what]();
    delete trouble[what];
    return true;
  } catch (error) {
    trouble[what] = error.message;
    return false;
  }
}

async function refresh() {
  clearTimeout(timer);
  const begun = performance.now();
  const [answered] = await Promise.all(["now", "alerts", "fleet", "decisions"].map(read));
  if (answered) {
    received = performance.now();
    set(document.body, "data-time", last.now.time);
    plots.continue(last.now);
  }
  draw();
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(refresh, Math.max(1000, EVERY_MS - (performance.now() - begun)));
}

/** Whether what was read still says how the fleet is. */
function fresh() {
  return last.now !== null && age() !== null && age() < OLD && !(trouble.now && elapsed() > SILENT);
}

function draw() {
  const now = last.now ?? { series: new Map(), up: new Map(), time: null, age: null };
  const known = fresh();
  const hosts = hostsOf(last.fleet, now).map((host) => (known || ["gone", "standby"].includes(host.status) ? host : { ...host, status: "unknown" }));
  const tiers = tiersOf(hosts);
  set(document.body, "data-known", known ? "yes" : "no");
  tables.figures(now, hosts, known);
  tables.alerts(last.alerts, serverTime());
  if (!known) byId("no-alerts").hidden = true;
  tables.hosts(tiers, byId("wanted").value);
  tables.queues(now);
  tables.decisions(last.decisions, serverTime(), byId("changes-only").checked);
  if (tiers.length) picture.draw(tiers, now, last.fleet?.vip ?? null);
  const verdict = known ? verdictOf(hosts, last.alerts) : { level: "unknown", text: "the state of the fleet is not known" };
  set(byId("verdict"), "data-level", verdict.level);
  say(byId("verdict"), verdict.text);
  document.title = `${verdict.level === "ok" ? "" : "! "}Fleet: ${verdict.text}`;
  tick();
}

/** What changes every second: how old the data are, and what does not answer. */
function tick() {
  const old = age();
  say(byId("freshness"), old === null ? "no data yet" : `data ${duration(Math.round(old)).replace(".0 s", " s")} old, read at ${clock(serverTime() - elapsed())}`);
  set(byId("freshness"), "data-level", old !== null && old >= OLD ? "bad" : null);
  const sentences = [];
  if (trouble.now) {
    const since = old === null ? "There is nothing to show yet." : `What you see is ${duration(Math.round(old)).replace(".0 s", " s")} old.`;
    sentences.push(`Prometheus does not answer (${trouble.now}). ${since}`);
  } else if (last.now && last.now.age === null) {
    sentences.push("Prometheus answers, but has recorded no series of the fleet in the last five minutes: are its rules loaded?");
  } else if (old >= OLD) {
    sentences.push(`Prometheus answers, but its newest sample is ${duration(Math.round(old))} old.`);
  }
  if (!trouble.now && trouble.alerts) sentences.push(`The alerts could not be read (${trouble.alerts}).`);
  if (trouble.fleet) sentences.push(`The list of hosts could not be read (${trouble.fleet}).`);
  if (trouble.decisions) sentences.push(`The decisions could not be read (${trouble.decisions}).`);
  // The seconds in it change all the time: only a new kind of trouble is announced.
  byId("banner").hidden = sentences.length === 0;
  say(byId("banner"), sentences.join(" "));
  if (trouble.now && last.now && document.body.dataset.known === "yes" && !fresh()) draw();
}

async function begin() {
  legend(byId("legend"));
  byId("changes-only").addEventListener("change", draw);
  byId("wanted").addEventListener("input", draw);
  // A host of the picture leads to its row, also when the search leaves it out.
  addEventListener("hashchange", () => {
    const row = document.getElementById(location.hash.slice(1));
    if (!row?.hidden) return;
    byId("wanted").value = "";
    draw();
    row.scrollIntoView();
  });
  addEventListener("resize", draw);
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : refresh()));
  setInterval(tick, 1000);
  refresh();
  for (;;) {
    try {
      plots.show(await api.catalogue());
      return;
    } catch {
      await new Promise((done) => setTimeout(done, EVERY_MS));
    }
  }
}

begin();
