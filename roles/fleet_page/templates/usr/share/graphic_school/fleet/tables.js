// Figures, alerts, hosts, queues and decisions: what is shown as text.

import { byId, el, keyed, say, set } from "./dom.js";
import { ago, format, natural, short, whole } from "./format.js";
import { STATES, TIERS, alertRows, list, queuesOf, subjectOf, sumOf, valueOf } from "./model.js";

// --- the fleet in figures ---------------------------------------------------------------------------------------------

export function figures(now, hosts, known) {
  const serving = hosts.filter((host) => !["standby", "gone"].includes(host.status));
  const answering = serving.filter((host) => host.status !== "down").length;
  const releases = [...new Set(hosts.flatMap((host) => host.releases))];
  const level = (value, raised, high) => (value >= high ? "bad" : value >= raised ? "warn" : null);
  const p95 = valueOf(now, "fleet:response_time_overall:p95_seconds");
  const errors = valueOf(now, "fleet:request_errors:ratio");
  const budget = valueOf(now, "fleet:database_budget_used:ratio");
  const rows = [
    { id: "hosts", name: "hosts answer", text: known ? `${whole(answering)} of ${whole(serving.length)}` : "–", value: known ? answering : null, level: answering < serving.length ? "bad" : null },
    { id: "requests", name: "requests", series: "fleet:requests:rate", value: sumOf(now, "fleet:requests:rate") },
    { id: "p95", name: "response time, p95", series: "fleet:response_time_overall:p95_seconds", value: p95, level: level(p95, 2, 5) },
    { id: "errors", name: "failed answers", series: "fleet:request_errors:ratio", value: errors, level: level(errors, 0.001, 0.01) },
    { id: "jobs", name: "jobs wait", series: "fleet:queue_length:jobs", value: sumOf(now, "fleet:queue_length:jobs") },
    { id: "budget", name: "connection budget", series: "fleet:database_budget_used:ratio", value: budget, level: level(budget, 0.8, 0.9) },
    { id: "release", name: releases.length > 1 ? "releases side by side" : "release", text: releases.length > 1 ? String(releases.length) : (releases[0] ?? "–"), long: true },
  ];
  keyed(
    byId("figures"),
    rows,
    (row) => row.id,
    (row) => el("li", { class: "card" }, el("span", { class: row.long ? "figure long" : "figure", "data-testid": `figure-${row.id}` }), el("span", { class: "small" })),
    (node, row) => {
      set(node, "data-level", row.level);
      const text = row.text ?? format(row.series, row.value);
      set(node.firstChild, "data-value", row.value ?? null);
      set(node.firstChild, "data-wide", text.length > 10 ? "yes" : null);
      say(node.firstChild, text);
      say(node.lastChild, row.name);
    },
  );
}

// --- alerts -----------------------------------------------------------------------------------------------------------

function runbook({ annotations = {} }) {
  const address = annotations.runbook_url ?? annotations.runbook;
  return address && /^(https?:\/\/|\/|[\w.-]+\/)/.test(address) ? address : null;
}

export function alerts(all, time) {
  const rows = alertRows(all);
  byId("no-alerts").hidden = rows.some(([alert]) => alert.state === "firing");
  keyed(
    byId("alerts"),
    rows,
    (row) => JSON.stringify([row.length > 1 ? row[0].labels.alertname : row[0].labels, row[0].labels.severity, row[0].state, runbook(row[0])]),
    (row) => {
      const [alert] = row;
      const address = runbook(alert);
      const level = alert.state === "pending" ? "pending" : (alert.labels.severity ?? "warning");
      const said = [el("strong", {}, alert.labels.alertname), " ", el("span", {})];
      return el(
        "li",
        { class: "card", "data-level": level, "data-testid": `alert-${alert.labels.alertname}` },
        el("span", { class: "pill" }, level),
        row.length > 1 ? el("details", { class: "what" }, el("summary", {}, ...said), el("ul")) : el("span", { class: "what" }, ...said),
        el("span", { class: "small" }),
        address ? el("a", { href: address, rel: "noreferrer" }, "What to do") : null,
      );
    },
    (node, row) => {
      const what = node.children[1];
      set(node, "data-count", row.length);
      if (row.length > 1) {
        const alerts = [...row].sort((one, other) => natural(subjectOf(one), subjectOf(other)));
        say(what.firstChild.lastChild, `${whole(row.length)} times: ${list(alerts.map(subjectOf))}`);
        keyed(what.lastChild, alerts, (alert) => JSON.stringify(alert.labels), () => el("li"), (line, alert) => say(line, summary(alert)));
      } else {
        say(what.lastChild, summary(row[0]));
      }
      say(node.children[2], `since ${ago(time, Math.min(...row.map((alert) => Date.parse(alert.activeAt))) / 1000).replace(" ago", "")}`);
    },
  );
}

const summary = (alert) => alert.annotations?.summary ?? alert.annotations?.description ?? subjectOf(alert);

// --- hosts and queues -------------------------------------------------------------------------------------------------

const HOST_COLUMNS = [
  ["CPU", "cpu", "x:ratio", [0.7, 0.9]],
  ["Memory", "memory", "x:ratio", [0.8, 0.85]],
  ["Disk", "disk", "x:ratio", [0.7, 0.8]],
  ["Requests", "rate", "x:rate"],
  ["FPM busy", "busyFpm", "x:ratio", [0.7, 0.9]],
];

function table(place, headings, caption) {
  if (!place.body) {
    place.body = el("tbody");
    const head = el("tr", {}, ...headings.map(([text, numeric]) => el("th", { scope: "col", class: numeric ? "number" : null }, text)));
    place.append(el("table", {}, el("caption", { class: "hidden" }, caption), el("thead", {}, head), place.body));
  }
  return place.body;
}

// Fewer are seen at a glance.
const WORTH_SEARCHING = 25;

/** Hosts with all words of `wanted` in what their row says of name, address, tier, state and release; of 25 hosts and less all are shown. */
export function hosts(tiers, wanted = "") {
  const all = tiers.flatMap((tier) => tier.hosts);
  byId("search").hidden = all.length <= WORTH_SEARCHING;
  const words = all.length <= WORTH_SEARCHING ? [] : wanted.toLowerCase().split(/\s+/).filter(Boolean);
  const said = (host) => [host.name, host.address, host.role, ...host.tiers.map((tier) => TIERS[tier] ?? tier), STATES[host.status], ...host.releases].join(" ").toLowerCase();
  const shown = (host) => words.every((word) => (word.startsWith("-") ? word === "-" || !said(host).includes(word.slice(1)) : said(host).includes(word)));
  say(byId("found"), words.length ? `${whole(all.filter(shown).length)} of ${whole(all.length)} hosts` : "");
  const headings = [["Host"], ["Tier"], ["State"], ...HOST_COLUMNS.map(([text]) => [text, true]), ["Release"]];
  keyed(
    table(byId("hosts"), headings, "Hosts with their state and load"),
    all,
    (host) => host.name,
    (host) =>
      el(
        "tr",
        { id: `host-${host.name}`, "data-testid": `row-${host.name}` },
        el("th", { scope: "row" }, host.name, el("span", { class: "small" })),
        el("td", {}, host.tiers.map((tier) => TIERS[tier] ?? tier).join(", ")),
        el("td", {}, el("span", { class: "key" })),
        ...HOST_COLUMNS.map(([, key]) => el("td", { class: "number", "data-testid": `${key}-${host.name}` })),
        el("td", {}),
      ),
    (row, host) => {
      const silent = ["down", "gone"].includes(host.status);
      set(row, "data-state", host.status);
      row.hidden = !shown(host);
      say(row.children[0].lastChild, [host.role, host.address].filter(Boolean).join(", "));
      set(row.children[2].firstChild, "data-state", host.status);
      say(row.children[2].firstChild, STATES[host.status]);
      HOST_COLUMNS.forEach(([, key, unit, [raised, high] = []], place) => {
        const cell = row.children[3 + place];
        const value = silent ? undefined : host[key];
        say(cell, value === undefined ? "" : format(unit, value));
        set(cell, "data-value", value ?? null);
        set(cell, "data-level", high !== undefined && value >= high ? "bad" : raised !== undefined && value >= raised ? "warn" : null);
      });
      say(row.lastChild, list(host.releases));
    },
  );
}

export function queues(now) {
  const headings = [["Queue"], ["Waiting jobs", true], ["Oldest waits for", true], ["Job duration, p95", true]];
  const cells = [["length", "x:jobs"], ["age", "x:seconds"], ["p95", "x:seconds"]];
  const rows = queuesOf(now);
  const place = byId("queues");
  place.parentElement.hidden = rows.length === 0;
  keyed(
    table(place, headings, "Queues with their waiting jobs"),
    rows,
    (row) => row.queue,
    ({ queue }) =>
      el("tr", {}, el("th", { scope: "row" }, queue), ...cells.map(([key]) => el("td", { class: "number", "data-testid": `queue-${key}-${queue}` }))),
    (row, queue) =>
      cells.forEach(([key, unit], index) => {
        set(row.children[index + 1], "data-value", queue[key] ?? null);
        say(row.children[index + 1], format(unit, queue[key]));
      }),
  );
}

// --- decisions --------------------------------------------------------------------------------------------------------

const MOST_DECISIONS = 50;
const seconds = (decision) => Date.parse(decision.time) / 1000;

function verb({ action, current, desired }) {
  if (action === "hold" || current === desired) return `stays at ${current}`;
  return action === "out" ? `grows from ${current} to ${desired}` : `shrinks from ${current} to ${desired}`;
}

// How the numbers of a signal read, where they are not counts.
const SIGNAL_UNITS = { cpu: "x:ratio", memory: "x:ratio", response_time: "x:seconds", queue_age: "x:seconds" };

function signals(decision) {
  const number = (value, unit) => (value === null || value === undefined ? "–" : unit ? format(unit, Number(value)) : short(Number(value)));
  return el(
    "table",
    { class: "signals" },
    el("caption", { class: "hidden" }, "Signals of this decision"),
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "signal"), ...["value", "threshold", "demands"].map((text) => el("th", { scope: "col", class: "number" }, text)))),
    el(
      "tbody",
      {},
      ...(decision.signals ?? []).map((signal) =>
        el("tr", {}, el("th", { scope: "row" }, String(signal.name).replaceAll("_", " ")), ...["value", "threshold", "demand"].map((key) => el("td", { class: "number" }, number(signal[key], key === "demand" ? null : SIGNAL_UNITS[signal.name])))),
      ),
    ),
  );
}

export function decisions(all, time, changesOnly) {
  const none = byId("no-decisions");
  none.hidden = Boolean(all?.length);
  say(none, all === null ? "No autoscaler writes decisions here." : "The autoscaler has decided nothing yet.");
  const latest = [...new Map([...(all ?? [])].reverse().map((decision) => [decision.tier, decision])).values()];
  keyed(
    byId("decisions-now"),
    latest.sort((one, other) => Object.keys(TIERS).indexOf(one.tier) - Object.keys(TIERS).indexOf(other.tier)),
    (decision) => JSON.stringify(decision),
    (decision) =>
      el(
        "article",
        { class: "card decision", "data-action": decision.action, "data-testid": `decision-${decision.tier}` },
        el("h3", {}, `${TIERS[decision.tier] ?? decision.tier} `, el("span", { class: "pill" }, verb(decision)), decision.dry_run ? el("span", { class: "pill plain" }, "dry run") : null),
        el("p", { class: "reason" }, decision.reason),
        decision.signals?.length ? signals(decision) : null,
        el("p", { class: "small" }),
      ),
    (node, decision) => say(node.lastChild, `decided ${ago(time, seconds(decision))}`),
  );
  const past = (all ?? []).filter((decision) => !changesOnly || decision.action !== "hold").slice(0, MOST_DECISIONS);
  byId("history").hidden = !all?.length;
  keyed(
    byId("decisions"),
    past.map((decision, place) => ({ ...decision, place })),
    ({ place, ...decision }) => JSON.stringify(decision),
    (decision) =>
      el(
        "li",
        { "data-action": decision.action },
        el("time", { datetime: decision.time }, new Date(decision.time).toLocaleString([], { dateStyle: "short", timeStyle: "medium", hourCycle: "h23" })),
        el("span", {}, el("strong", {}, `${TIERS[decision.tier] ?? decision.tier} ${verb(decision)}`), decision.dry_run ? " (dry run)" : "", `: ${decision.reason}`),
      ),
    () => {},
  );
}
