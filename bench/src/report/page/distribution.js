// The percentile curve: how long the slowest of a hundred, a thousand, a million took.
const DASHES = { ack: null, end_to_end: "8 4", fetch: "10 3 2 3", ack_service: "2 3", transaction: "12 3", end_txn: "5 3", add_partitions: "3 3", lookup: "5 3" };

function floorLines() {
  const disk = report.disk;
  if (!disk || !disk.write_4k.count) return [];
  return [
    { y: disk.write_4k.p50_us, text: `disk p50 ${time(disk.write_4k.p50_us)} (4 KiB, durable)` },
    { y: disk.write_4k.p99_us, text: `disk p99 ${time(disk.write_4k.p99_us)}` },
  ].filter((line) => line.y > 0);
}

function distributionCard(label) {
  const steps = stepsOf(label);
  const series = ["ack", "end_to_end", "fetch", "ack_service", "transaction", "end_txn", "add_partitions", "lookup"].flatMap((key) => steps.map((step, side) => ({ step, side, key, latency: step && step.latencies[key] })))
    .filter((one) => filled(one.latency))
    .map(({ side, key, latency }) => ({
      name: (two ? `${report.sides[side].name}: ` : "") + nameOf(key), side: two ? side : { ack: 0, end_to_end: 1, fetch: 2, ack_service: 3, transaction: 1, end_txn: 2, add_partitions: 3, lookup: 3 }[key], dash: DASHES[key],
      thin: key === "ack_service", off: two && key === "ack_service", count: latency.count, points: latency.curve.filter((point) => point[1] > 0),
    }));
  if (!series.length) return null;
  const most = Math.max(...series.map((one) => one.count));
  return card("Latency by percentile",
    "Each step to the right is ten times rarer. Measured from when a record was due, so that a stall counts for every record it delayed; “from actual send” is what closed-loop tools would show. The disk's own writes, measured before, are the dashed lines.",
    lineChart({
      label: "Latency by percentile", series, lines: floorLines(),
      x: { scale: () => nines(Math.max(1.4, Math.log10(most) + 0.12)), text: "percentile", write: percent },
      y: { scale: (min, max) => log(min * 0.7, max, timeTick), text: "latency", write: time },
    }));
}
