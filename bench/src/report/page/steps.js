// Several loads: the curve over them with its knee, a row each, and B against A.
const AXES = {
  sweep: { text: "records/s asked for", write: (n) => `${whole(n)}/s`, tick: compact },
  partitions: { text: "partitions", write: (n) => `${whole(n)} partitions`, tick: compact, log: true },
  connections: { text: "connections", write: (n) => `${whole(n)} connections`, tick: compact, log: true },
  restart: { text: "bytes in the log", write: bytes, tick: bytes, log: true },
  lookup: { text: "bytes in the log", write: bytes, tick: bytes, log: true },
};
const axis = AXES[report.scenario] || { text: "load", write: digits, tick: compact };
const xOf = (step) => step.x;

/** Milliseconds p99.9 may take, by whatever flag holds it. */
function limitUs() {
  const found = Object.entries(report.load).find(([name]) => /limit.*-(ms|us)$/.test(name));
  return found ? Number(found[1]) * (found[0].endsWith("ms") ? 1e3 : 1) : NaN;
}

/** The last load of a sweep that the broker kept up with, within the limit. */
function kneeOf(steps) {
  if (report.scenario !== "sweep") return null;
  const limit = limitUs();
  const holds = (step) => {
    const flow = flowOf(step), key = mainKey(step);
    return flow && key && (!step.offered_per_s || flow.records_per_s >= step.offered_per_s * 0.98) && !(step.latencies[key].p999_us > limit);
  };
  const first = steps.findIndex((step) => !holds(step));
  return first === 0 ? null : steps[(first < 0 ? steps.length : first) - 1] || null;
}

function curveChart(title, note, series, y, extra) {
  if (!series.some((one) => one.points.length)) return null;
  const xScale = (all) => {
    const xs = all.map((point) => point[0]);
    return axis.log ? log(Math.min(...xs), Math.max(...xs), axis.tick, true) : linear(0, Math.max(...xs), axis.tick);
  };
  const scale = (all) => {
    const s = xScale(all);
    if (axis.log) s.ticks = [...new Set(all.map((point) => point[0]))].sort((a, b) => a - b).map((x) => [x, axis.tick(x)]);
    return s;
  };
  return card(title, note, lineChart({ label: title, series, ...extra, x: { scale, text: axis.text, write: axis.write }, y }));
}

const MICROS = { _us: 1, _ms: 1e3, _s: 1e6 };
const microsOf = (key) => Object.entries(MICROS).find(([end]) => key.endsWith(end) && !key.endsWith("_per_s"));

/** None where the loads are not points on an axis. */
function curveCards() {
  if (new Set(merged.flat().map(xOf)).size < 2) return [];
  const prefix = (side) => (two ? `${report.sides[side].name}: ` : "");
  const quantiles = [["p50", "p50_us", 0.5, "2 3"], ["p99", "p99_us", 0.99, "8 4"], ["p99.9", "p999_us", 0.999, null]];
  const latency = merged.flatMap((steps, side) => quantiles.map(([name, field, q, dash], at) => ({
    name: prefix(side) + name, side: two ? side : 2 - at, dash, dots: true,
    points: steps.filter((step) => mainKey(step) && enough(step.latencies[mainKey(step)], q)).map((step) => [xOf(step), step.latencies[mainKey(step)][field]]),
  })));
  const marks = merged.flatMap((steps, side) => {
    const knee = kneeOf(steps);
    return knee ? [{ x: xOf(knee), y: knee.latencies[mainKey(knee)].p999_us, side: two ? side : 0, text: `knee: ${whole(xOf(knee))}/s` }] : [];
  });
  const limit = limitUs();
  const lines = [...(limit > 0 ? [{ y: limit, text: `limit for p99.9: ${timeTick(limit)}` }] : []), ...floorLines().slice(0, 1)];
  const keys = [...new Set(merged.flat().flatMap((step) => Object.keys(step.figures)).filter(microsOf))];
  const own = merged.flatMap((steps, side) => keys.map((key, at) => ({
    name: prefix(side) + key.replace(/_(us|ms|s)$/, "").replaceAll("_", " "), side: two ? side : at % 4, dash: [null, "8 4", "2 3"][at % 3], dots: true,
    points: steps.filter((step) => step.figures[key] > 0).map((step) => [step.x, step.figures[key] * microsOf(key)[1]]),
  })));
  const rate = report.scenario === "sweep" ? [] : merged.map((steps, side) => ({
    name: report.sides[side].name, side, dots: true, points: steps.filter(flowOf).map((step) => [step.x, flowOf(step).records_per_s]),
  }));
  const times = { scale: (min, max) => log(min * 0.8, max, timeTick), text: "time", write: time };
  const title = report.scenario === "sweep" ? "Latency against throughput" : `Latency by ${axis.text}`;
  const note = marks.length ? "The knee is the last rate the broker kept up with, with p99.9 within the limit if one was set." : null;
  return [
    curveChart(title, note, latency, { ...times, text: "latency" }, { marks, lines }),
    curveChart(`Times by ${axis.text}`, null, own, times),
    curveChart(`Throughput by ${axis.text}`, null, rate, { scale: (min, max) => linear(0, max, compact), text: "records/s", write: (n) => `${whole(n)}/s` }),
  ];
}

function stepTable() {
  const own = [...new Set(merged.flat().flatMap((step) => Object.keys(step.figures)))];
  const rows = merged.flatMap((steps, side) => steps.map((step) => {
    const key = mainKey(step), latency = key && step.latencies[key], flow = flowOf(step);
    const at = (field, q) => (latency && enough(latency, q) ? time(latency[field]) : "");
    return [[two && swatch(side), two ? ` ${report.sides[side].name} ` : "", step.label], flow ? whole(flow.records_per_s) : "", flow ? digits(flow.mib_per_s) : "",
      at("p50_us", 0.5), at("p99_us", 0.99), at("p999_us", 0.999), latency ? time(latency.max_us) : "",
      step.broker && step.broker.cpu_s_per_gib !== null ? digits(step.broker.cpu_s_per_gib) : "",
      ...own.map((name) => (name in step.figures ? figure(name, step.figures[name]) : "")), ledgerWord(step.ledger)];
  }));
  const heads = ["load", "records/s", "MiB/s", "p50", "p99", "p99.9", "max", "CPU-s/GiB", ...own.map((name) => name.replace(/_(us|ms|s|bytes)$/, "").replaceAll("_", " ")), "ledger"];
  const used = heads.map((_, at) => at === 0 || rows.some((row) => row[at] !== ""));
  const keep = (row) => row.filter((_, at) => used[at]);
  return card("Every load", null, table(keep(heads), rows.map(keep), "figures"));
}

function figure(name, n) {
  const micros = microsOf(name);
  return micros ? time(n * micros[1]) : name.endsWith("_bytes") ? bytes(n) : digits(n);
}

/** A ratio's range on a logarithmic scale around 1. */
function ratioBar(ratio, verdict, reach) {
  const at = (v) => 70 + (Math.log2(Math.max(v, 1e-9)) / reach) * 66;
  const clamp = (v) => Math.max(3, Math.min(137, at(v)));
  const [x, from, to] = [ratio.median, ratio.min, ratio.max].map(clamp);
  return svg("svg", { class: `bar ${verdict}`, viewBox: "0 0 140 16", width: 140, height: 16, "aria-hidden": "true" },
    svg("line", { class: "one", x1: 70, x2: 70, y1: 0, y2: 16 }), svg("rect", { x: Math.min(70, x), y: 5, width: Math.max(1, Math.abs(x - 70)), height: 6, rx: 1 }),
    svg("line", { class: "range", x1: from, x2: Math.max(to, from + 0.5), y1: 8, y2: 8 }), svg("circle", { cx: x, cy: 8, r: 3.5 }));
}

function ratioCard(label) {
  const rows = report.ratios.filter((row) => row.step === label || row.step === "");
  if (!rows.length) return null;
  const [a, b] = report.sides.map((side) => side.name);
  const reach = Math.max(1, ...rows.flatMap((row) => [row.ratio.min, row.ratio.max]).filter((n) => n > 0).map((n) => Math.abs(Math.log2(n))));
  const spread = (s, write) => [el("span", { class: "value" }, write(s.median)), write(s.min) !== write(s.max) && el("small", null, `${write(s.min)} – ${write(s.max)}`)];
  const rounds = Math.max(...report.sides.map((side) => side.runs.length));
  const body = rows.map((row) => {
    const value = (n) => withUnit(n, row.unit), m = row.ratio.median;
    const verdict = m > 0.99 && m < 1.01 ? "same" : rounds < 2 || (row.ratio.min < 1 && row.ratio.max > 1) ? "open" : (m < 1) === row.lower_is_better ? "better" : "worse";
    const factor = Math.max(m, 1 / m);
    const factored = Number.isFinite(factor) && factor >= 1.05 ? ` ${digits(factor)}×` : "";
    const word = verdict === "same" ? "≈ same" : verdict === "open" ? (rounds < 2 ? "one round" : "not told apart") : [verdict === "better" ? "▲" : "▼", el("span", null, ` B ${verdict}`), factored];
    return [row.figure, spread(row.a, value), spread(row.b, value), spread(row.ratio, (n) => `${digits(n)}×`), ratioBar(row.ratio, verdict, reach), el("span", { class: `verdict ${verdict}` }, word)];
  });
  return card(`${b} against ${a}`, `B over A: of the medians, and the range over ${rounds} round${rounds > 1 ? "s" : ""}, paired. The bar's middle line is 1; each side of it is logarithmic.`,
    table(["figure", sideName(0), sideName(1), "B / A", "", ""], body, "figures ratios"));
}
