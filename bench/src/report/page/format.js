// The embedded report and how its figures are written.
const { report, merged } = JSON.parse(document.getElementById("data").textContent);

const NAMES = { ack: "ack", end_to_end: "end to end", fetch: "fetch", ack_service: "ack, from actual send", transaction: "transaction", end_txn: "EndTxn", add_partitions: "AddPartitionsToTxn", lookup: "time lookup" };
const nameOf = (key) => NAMES[key] || key.replaceAll("_", " ");
const whole = (n) => Math.round(n).toLocaleString("en-US");

/** Three significant digits, thousands separated. */
function digits(n) {
  const size = Math.abs(n);
  if (!Number.isFinite(n)) return "–";
  if (size === 0 || size >= 99.95) return whole(n);
  if (size < 0.00095) return n.toExponential(1);
  return n.toFixed(size < 0.0995 ? 4 : size < 0.9995 ? 3 : size < 9.995 ? 2 : 1);
}

/** Like `digits` without zeroes at the end, for axes. */
const short = (n) => (Math.abs(n) >= 1000 ? whole(n) : String(Number(n.toPrecision(4))));

const scaled = (write) => (us) => {
  if (us < 999.5) return write(us) + " µs";
  return us < 999500 ? write(us / 1e3) + " ms" : write(us / 1e6) + " s";
};
const time = scaled(digits);
const timeTick = scaled(short);

function compact(n) {
  const [div, unit] = n >= 1e9 ? [1e9, "G"] : n >= 1e6 ? [1e6, "M"] : n >= 1e4 ? [1e3, "k"] : [1, ""];
  return short(n / div) + unit;
}

function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  for (; n >= 1024 && at < 4; at++) n /= 1024;
  return `${at ? short(Number(n.toPrecision(3))) : whole(n)} ${units[at]}`;
}

function withUnit(n, unit) {
  if (unit === "us") return time(n);
  if (unit === "ms") return time(n * 1e3);
  if (unit === "B") return bytes(n);
  if (unit === "MiB") return bytes(n * 2 ** 20);
  return unit ? `${digits(n)} ${unit}` : digits(n);
}

const percent = (q) => (q >= 1 ? "max" : `${Number((q * 100).toPrecision(2 + Math.max(3, Math.ceil(-Math.log10(1 - q)))))} %`);
const seconds = (s) => `${short(s)} s`;

/** Steps of one label, one a side; null where a side lacks it. */
const stepsOf = (label) => merged.map((steps) => steps.find((step) => step.label === label) || null);
const flowOf = (step) => step.produced || step.consumed;
const filled = (latency) => latency && latency.count > 0;
const mainKey = (step) => ["transaction", "end_to_end", "ack", "fetch"].find((key) => filled(step.latencies[key]));
const enough = (latency, q) => latency.count * (1 - q) >= 0.999;
const two = report.sides.length > 1;
const many = merged.some((steps) => steps.length > 1);
const failedLedger = (step) => step && step.ledger && step.ledger.checked && !step.ledger.passed;
