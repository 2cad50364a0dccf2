// Where the time of a request went inside a broker that tells: a row a stage, with bars on one logarithmic scale.
function stageBar(stage, most) {
  const least = 0.1, x = (us) => (Math.log(Math.max(us, least) / least) / Math.log(most / least)) * 220;
  const line = (name, from, to, y, height) => svg("rect", { class: name, x: x(from), y, width: Math.max(1, x(to) - x(from)), height, rx: 1 });
  return svg("svg", { class: "stage", viewBox: "0 0 220 14", width: 220, height: 14, "aria-hidden": "true" },
    line("tail", least, stage.p999_us, 6, 2), line("most", least, stage.p99_us, 4, 6), line("half", least, stage.p50_us, 2, 10));
}

function stageCards(label) {
  return stepsOf(label).map((step, side) => {
    const inside = step && step.inside;
    const seen = inside ? inside.stages.filter((stage) => stage.count > 0) : [];
    if (!seen.length) return null;
    const most = Math.max(1, ...seen.map((stage) => stage.p999_us)), records = (flowOf(step) || {}).records;
    const rows = seen.map((stage) => [stage.name.replaceAll("_", " "), whole(stage.count), time(stage.mean_us), time(stage.p50_us), time(stage.p99_us), time(stage.p999_us), stageBar(stage, most)]);
    const requests = inside.counters.requests;
    const each = [["io_uring_enter", "enters"], ["operations", "submissions"], ["journal commits", "journal_commits"]].filter(([, key]) => inside.counters[key] > 0);
    return card(["Stages of ", sideName(side)], "By the broker's own clock, all cores together. The bars end at p50, p99 and p99.9, on one logarithmic scale.",
      table(["stage", "count", "mean", "p50", "p99", "p99.9", ""], rows, "figures"),
      pairs([...each.map(([name, key]) => [name, requests > 0 && `${digits(inside.counters[key] / requests)} a request${records > 0 ? `, ${digits(inside.counters[key] / records)} a record` : ""}`]),
        ...inside.cores.map((core) => [`core ${core.core}`, core.seconds > 0 && `${Math.round((core.cpu_s / core.seconds) * 100)} % busy, ${whole(core.connections)} connections, ${whole(core.partitions)} partitions`])]));
  }).filter(Boolean);
}
