// How numbers read. A series' name ends in its unit (docs/fleet-page.md), so the name alone says how to write its values.

const UNITS = {
  ratio: share,
  seconds: duration,
  p50_seconds: duration,
  p95_seconds: duration,
  p99_seconds: duration,
  rate: (value) => `${short(value)}/s`,
  per_minute: (value) => `${short(value)}/min`,
  days: (value) => (value < 10 ? `${short(value)} days` : `${whole(value)} days`),
  jobs: whole,
  count: whole,
  transactions: whole,
  bool: (value) => (value ? "yes" : "no"),
};

/** A value of the series, for people: "34 %", "120 ms", "12.3/s"; "–" where there is none. */
export function format(series, value) {
  if (value === undefined || value === null || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return "∞";
  return (UNITS[unitOf(series)] ?? short)(value);
}

export function unitOf(series) {
  return series.slice(series.lastIndexOf(":") + 1);
}

const SPELLED = { cpu: "CPU", fpm: "FPM", opcache: "OPcache", gtid: "GTID", mysql: "MySQL", redis: "Redis" };

/** "fleet:response_time:p95_seconds" → "Response time, p95". */
export function title(series) {
  const [, subject = series, unit = ""] = series.split(":");
  const words = subject.split("_").map((word) => SPELLED[word] ?? word).join(" ");
  const quantile = /^p\d+/.exec(unit);
  return words[0].toUpperCase() + words.slice(1) + (quantile ? `, ${quantile[0]}` : "") + (unit === "per_minute" ? " per minute" : "");
}

export function share(value) {
  const percent = value * 100;
  if (percent === 0) return "0 %";
  if (percent < 0.01) return "< 0.01 %";
  if (percent < 1) return `${percent.toFixed(2)} %`;
  return percent < 10 ? `${percent.toFixed(1)} %` : `${Math.round(percent)} %`;
}

export function duration(seconds) {
  if (seconds < 0) return `-${duration(-seconds)}`;
  if (seconds === 0) return "0 s";
  if (seconds < 0.001) return `${Math.max(1, Math.round(seconds * 1e6))} µs`;
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

export function whole(value) {
  return Math.round(value).toLocaleString("en").replaceAll(",", "\u202f");
}

export function short(value) {
  if (Math.abs(value) >= 100) return whole(value);
  return Math.abs(value) >= 10 || Number.isInteger(value) ? String(Number(value.toFixed(1))) : String(Number(value.toFixed(2)));
}

/** "3 s ago", "4 min ago", from now and then in seconds. */
export function ago(now, then) {
  const seconds = Math.max(0, now - then);
  return seconds < 1 ? "just now" : `${duration(Math.round(seconds))} ago`.replace(/\.0 s/, " s");
}

export function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
}

/** "app2" before "app10". */
export const natural = new Intl.Collator("en", { numeric: true }).compare;
