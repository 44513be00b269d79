// What the answers mean: pure functions, from answers to what is shown.

import { natural } from "./format.js";

// The order in which a request meets the tiers.
export const TIERS = {
  load_balancers: "Load balancers",
  app_servers: "App servers",
  queue_workers: "Queue workers",
  mysql: "MySQL",
  redis_cluster: "Redis",
  object_storage: "Object storage",
  monitoring: "Monitoring",
};

export const STATES = {
  ok: "ok",
  busy: "busy",
  ill: "unhealthy",
  drained: "out of traffic",
  down: "not answering",
  unknown: "unknown",
  standby: "standby",
  gone: "down by inventory",
};

// Alerts begin here too: CPU > 90 %, memory > 85 %, disk > 80 % (docs/runbooks).
const BUSY = { cpu: 0.9, memory: 0.85, disk: 0.8 };

/** The value of a series with these labels; undefined where there is none. */
export function valueOf(now, name, labels = {}) {
  const wanted = Object.entries(labels);
  return (now.series.get(name) ?? []).find((sample) => wanted.every(([key, value]) => sample.labels[key] === value))?.value;
}

export function sumOf(now, name) {
  const samples = now.series.get(name) ?? [];
  return samples.length ? samples.reduce((sum, sample) => sum + sample.value, 0) : undefined;
}

// A thousand hosts would each walk through the samples of a thousand.
const indexes = new WeakMap();

/** The samples of a series by the value of a label. */
function samplesBy(now, name, label) {
  const samples = now.series.get(name);
  if (!samples) return new Map();
  if (!indexes.has(samples)) indexes.set(samples, Map.groupBy(samples, (sample) => sample.labels[label]));
  return indexes.get(samples);
}

/** The hosts with state and load, in the order of fleet.json; without that file, those that Prometheus knows. */
export function hostsOf(fleet, now) {
  return (fleet?.hosts ?? seen(now)).map((host) => {
    const samples = (name, label = "host") => samplesBy(now, name, label).get(host.name) ?? [];
    const of = (name, pick = Math.max) => {
      const values = samples(name).map((sample) => sample.value);
      return values.length ? pick(...values) : undefined;
    };
    const load = { cpu: of("fleet:cpu_used:ratio"), memory: of("fleet:memory_used:ratio"), disk: of("fleet:disk_used:ratio") };
    const tier = host.tiers[0];
    return {
      ...host,
      tier,
      ...load,
      up: of("fleet:up:bool", Math.min) > 0 && now.up.get(host.name) !== false,
      drained: of("fleet:out_of_traffic:bool") > 0,
      rate: samples("fleet:requests:rate", "upstream")[0]?.value,
      role: roleOf(of, host),
      healthy: of("fleet:health:bool", Math.min) !== 0,
      lag: of("fleet:replication_lag:seconds"),
      busyFpm: of("fleet:fpm_busy:ratio"),
      releases: samples("fleet:release:info")
        .filter((sample) => sample.value > 0)
        .map((sample) => sample.labels.release),
    };
  }).map((host) => ({ ...host, status: statusOf(host) }));
}

function roleOf(of, host) {
  const primary = of("fleet:mysql_primary:bool");
  if (!host.tiers.includes("mysql") || primary === undefined) return null;
  return primary > 0 ? "primary" : "replica";
}

function statusOf(host) {
  if (host.state === "down") return "gone";
  if (!host.up) return host.state === "standby" ? "standby" : "down";
  if (host.state === "standby") return "standby";
  if (host.drained || host.state === "draining") return "drained";
  if (!host.healthy) return "ill";
  return Object.entries(BUSY).some(([what, limit]) => host[what] >= limit) ? "busy" : "ok";
}

function seen(now) {
  const found = new Map();
  for (const { labels } of now.series.get("fleet:up:bool") ?? []) {
    found.set(labels.host, { name: labels.host, address: null, tiers: [labels.tier], state: "active" });
  }
  return [...found.values()].sort((one, other) => natural(one.name, other.name));
}

/** Tiers that have hosts, in the order of TIERS: [{key, title, hosts}]. A host stands in its first tier only. */
export function tiersOf(hosts) {
  const keys = [...Object.keys(TIERS), ...new Set(hosts.map((host) => host.tier).filter((tier) => !(tier in TIERS)))];
  return keys
    .map((key) => ({ key, title: TIERS[key] ?? key, hosts: hosts.filter((host) => host.tier === key) }))
    .filter((tier) => tier.hosts.length);
}

export function queuesOf(now) {
  const names = new Set();
  for (const name of ["fleet:queue_length:jobs", "fleet:queue_oldest_job_age:seconds", "fleet:job_duration:p95_seconds"]) {
    for (const { labels } of now.series.get(name) ?? []) names.add(labels.queue);
  }
  return [...names].sort(natural).map((queue) => ({
    queue,
    length: valueOf(now, "fleet:queue_length:jobs", { queue }),
    age: valueOf(now, "fleet:queue_oldest_job_age:seconds", { queue }),
    p95: valueOf(now, "fleet:job_duration:p95_seconds", { queue }),
  }));
}

const SEVERITIES = ["critical", "warning", "info"];

/** Alerts that fire, gravest and oldest first, then those that wait for their time. */
export function sortedAlerts(alerts) {
  const rank = ({ state, labels }) => {
    const severity = SEVERITIES.indexOf(labels.severity);
    return (state === "firing" ? 0 : 10) + (severity < 0 ? 1 : severity);
  };
  return alerts
    .filter((alert) => alert.state !== "inactive")
    .sort((one, other) => rank(one) - rank(other) || Date.parse(one.activeAt) - Date.parse(other.activeAt));
}

/** The same as rows: more than three of one name, severity and state are one row, so that a storm leaves room for the fleet. */
export function alertRows(alerts) {
  const groups = Map.groupBy(sortedAlerts(alerts), ({ labels, state }) => JSON.stringify([labels.alertname, labels.severity, state]));
  return [...groups.values()].flatMap((group) => (group.length > 3 ? [group] : group.map((alert) => [alert])));
}

/** What an alert is about. */
export const subjectOf = ({ labels }) => labels.host ?? labels.queue ?? labels.pool ?? labels.upstream ?? "the fleet";

/** How many hosts are in each state that is not ok, gravest first, and how many are: "1 not answering, 2 busy, 897 ok". */
export function countsOf(hosts) {
  const order = ["down", "unknown", "ill", "drained", "busy", "standby", "gone", "ok"];
  const counts = Map.groupBy(hosts, (host) => host.status);
  return order.filter((state) => counts.has(state)).map((state) => `${counts.get(state).length} ${STATES[state]}`).join(", ");
}

/** One sentence about the whole fleet, and how grave it is. */
export function verdictOf(hosts, alerts) {
  const down = hosts.filter((host) => host.status === "down").map((host) => host.name);
  const firing = (alerts ?? []).filter((alert) => alert.state === "firing");
  if (down.length) return { level: "bad", text: `${list(down)} ${down.length > 1 ? "do" : "does"} not answer` };
  if (firing.length) {
    const grave = firing.some((alert) => alert.labels.severity === "critical");
    return { level: grave ? "bad" : "warn", text: firing.length > 1 ? `${firing.length} alerts are firing` : "1 alert is firing" };
  }
  const counted = hosts.filter((host) => !["standby", "gone"].includes(host.status));
  return { level: "ok", text: `all ${counted.length} hosts answer` };
}

export function list(names) {
  return names.length > 4 ? `${names.slice(0, 3).join(", ")} and ${names.length - 3} more` : names.join(", ");
}

/** What names a line in a plot: the values of the labels that differ between the lines. */
export function lineNames(samples) {
  const keys = [...new Set(samples.flatMap(({ labels }) => Object.keys(labels)))];
  const differing = keys.filter((key) => new Set(samples.map(({ labels }) => labels[key])).size > 1 && key !== "tier");
  const shown = differing.length ? differing : keys.filter((key) => key !== "tier").slice(0, 1);
  return samples.map(({ labels }) => shown.map((key) => labels[key]).filter(Boolean).join(" ") || "fleet");
}

/** A range answer as columns for the chart, [times, values of line 1, …]: null where a line has no sample at a time. */
export function columns(lines, from) {
  const times = [...new Set(lines.flatMap(({ points }) => [...points.keys()]))].filter((time) => time >= from).sort((a, b) => a - b);
  return [times, ...lines.map(({ points }) => times.map((time) => (Number.isFinite(points.get(time)) ? points.get(time) : null)))];
}

/** Points of yes and no as stretches [begin, end, value]; one ends where the value changes or no sample came for `gap` seconds. */
export function stretches(points, from, gap) {
  const found = [];
  for (const time of [...points.keys()].filter((one) => one >= from).sort((a, b) => a - b)) {
    const last = found.at(-1);
    const value = points.get(time) > 0;
    if (last && time - last[1] <= gap) last[1] = time;
    if (last?.[2] !== value || last[1] !== time) found.push([time, time, value]);
  }
  return found;
}
