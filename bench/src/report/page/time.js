// What went through and what the broker used, second by second; every round is a line of its own.
function roundsOf(label) {
  return report.sides.flatMap((side, at) => side.runs.map((run) => ({ side: at, round: run.round, rounds: side.runs.length, step: run.steps.find((step) => step.label === label) }))).filter(({ step }) => step);
}

function lineName({ side, round, rounds }, what) {
  const group = [two && report.sides[side].name, what].filter(Boolean).join(": ") || "records";
  return { group, name: rounds > 1 ? `${group}, round ${round}` : group };
}

function timeCard(title, note, label, read, y) {
  const rounds = roundsOf(label);
  const series = rounds.flatMap((one) => read(one.step).map(({ what, points, dash, line }) => ({ ...lineName(one, what), side: two ? one.side : line || 0, dash, thin: one.round > 1, points })));
  if (!series.some((one) => one.points.length)) return null;
  const single = rounds.length === 1 ? rounds[0].step.events : [];
  return card(title, note, lineChart({
    label: title, series, events: single, height: 250, lines: y.lines,
    x: { scale: (all) => { const end = Math.max(...all.map((point) => point[0]), 1); const scale = linear(0, end, seconds); return { ...scale, at: (v) => v / end, max: end, ticks: scale.ticks.filter(([v]) => v <= end) }; }, text: "seconds into the measurement", write: (v) => `at ${seconds(v)}` },
    y: { scale: (min, max) => linear(0, max * 1.04, y.tick, 5, y.binary), text: y.text, write: y.write },
  }));
}

function timeCards(label) {
  const flow = (flow, what, dash, line) => ({ what, dash, line, points: flow ? flow.per_second.map((count, at) => [at, count]) : [] });
  const both = (step) => step.produced && (step.consumed || step.cold);
  const offered = (stepsOf(label).find(Boolean) || {}).offered_per_s;
  const samples = (process, at) => (process ? process.samples.filter((sample) => sample[0] >= 0).map((sample) => [sample[0], sample[at]]) : []);
  const cards = [
    timeCard("Throughput over time", null, label, (step) => [flow(step.produced, both(step) && "produced", null), flow(step.consumed, both(step) && "consumed", "8 4", 1), flow(step.cold, "cold reader", "2 3", 2)],
      { text: "records/s", tick: compact, write: (n) => `${whole(n)}/s`, lines: offered ? [{ y: offered, text: `asked for ${whole(offered)}/s` }] : [] }),
    timeCard("Broker CPU", null, label, (step) => [{ points: samples(step.broker, 1) }], { text: "cores busy", tick: short, write: (n) => `${digits(n)} cores` }),
    timeCard("Broker memory", null, label, (step) => [{ points: samples(step.broker, 2) }], { text: "resident", binary: true, tick: (n) => bytes(n * 2 ** 20), write: (n) => bytes(n * 2 ** 20) }),
  ].filter(Boolean);
  return cards.length ? el("div", { class: "cards three" }, cards) : null;
}
