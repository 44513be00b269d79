// What is read from the server: Prometheus' API and two files. All addresses are relative, so the page works below any path.

const PATIENCE_MS = 4000;
const HOUR = 3600;
export const STEP = 15;

/** The parsed answer; throws a sentence that names the address where there is none. */
async function get(path) {
  let answer;
  try {
    answer = await fetch(path, {
      cache: "no-cache",
      credentials: "same-origin",
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
  } catch (error) {
    const why = error.name === "TimeoutError" ? `no answer within ${PATIENCE_MS / 1000} s` : "no connection";
    throw new Error(why);
  }
  if (answer.status === 401) throw new Error("the login is no longer valid: load the page again");
  if (!answer.ok) throw Object.assign(new Error(`HTTP ${answer.status}`), { status: answer.status });
  try {
    return await answer.json();
  } catch {
    throw new Error("the answer is no JSON");
  }
}

async function prometheus(what, parameters = {}) {
  const answer = await get(`api/v1/${what}?${new URLSearchParams(parameters)}`);
  if (answer.status !== "success") throw new Error(answer.error ?? "the answer says no success");
  return answer.data;
}

/** A JSON file beside the page's data; null where the server has none (yet). */
async function file(name) {
  try {
    return await get(`data/${name}`);
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

function number(text) {
  return text === "+Inf" ? Infinity : text === "-Inf" ? -Infinity : Number(text);
}

/** Every recorded series as it is: {time, age, series: name → [{labels, value}], up: host → bool}; times in seconds.

`up` is what Prometheus itself says of each host's exporter: a scrape that failed shows there before the next rule has run.
`age` is how long ago the newest sample was recorded, by Prometheus' clock. */
export async function now() {
  const [values, newest] = await Promise.all([
    prometheus("query", { query: '{__name__=~"fleet:.+"} or up{job="node"}' }),
    prometheus("query", { query: 'max(timestamp(fleet:up:bool))' }),
  ]);
  const series = new Map();
  const up = new Map();
  for (const { metric, value } of values.result) {
    const { __name__: name, ...labels } = metric;
    if (name === "up") {
      up.set(labels.host, (up.get(labels.host) ?? true) && number(value[1]) > 0);
    } else {
      if (!series.has(name)) series.set(name, []);
      series.get(name).push({ labels, value: number(value[1]) });
    }
  }
  const sample = newest.result[0]?.value;
  const time = values.result[0]?.value[0] ?? sample?.[0] ?? null;
  return { time, age: sample ? Math.max(0, sample[0] - number(sample[1])) : null, series, up };
}

/** The last hour of one series: [{labels, points: time → value}]. With `most`, only the lines that end highest, or of yes and no
those that changed most or are unlike the others now: a thousand hosts would be a thousand lines. */
export async function lastHour(name, end, most = null) {
  const aligned = Math.floor(end / STEP) * STEP;
  const worth = name.endsWith(":bool") ? `changes(${name}[1h] @ end()) + abs(${name} @ end() - scalar(avg(${name} @ end())))` : `${name} @ end()`;
  const query = most ? `${name} and topk(${most}, ${worth})` : name;
  const data = await prometheus("query_range", { query, start: aligned - HOUR, end: aligned, step: STEP });
  return data.result.map(({ metric, values }) => {
    const { __name__: _name, ...labels } = metric;
    return { labels, points: new Map(values.map(([time, value]) => [time, number(value)])) };
  });
}

export const alerts = async () => (await prometheus("alerts")).alerts;
export const fleet = () => file("fleet.json");
export const decisions = () => file("decisions.json");
export const catalogue = () => get("series.json");
