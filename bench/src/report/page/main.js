// Puts the page together; what depends on the chosen load is drawn again when it changes.
function head() {
  const names = report.sides.map((side) => side.name);
  const load = report.load;
  const words = [load.rate && (load.rate === "max" ? "as fast as it goes" : /^\d+$/.test(load.rate) && !many && `${whole(Number(load.rate))} records/s`), load["record-bytes"] && `${whole(Number(load["record-bytes"]))} B records`,
    load.partitions && !many && `${load.partitions} partitions`, load.acks && `acks=${load.acks}`, load.codec && load.codec !== "none" && load.codec, load.seconds && `${load.seconds} s`];
  const date = new Date(report.started_unix_ms);
  return el("header", null, el("div", null, el("p", { class: "over" }, `ringlog-bench · ${report.scenario}`), el("h1", null, names.flatMap((_, side) => [side ? el("span", { class: "against" }, " against ") : null, sideName(side)])),
    el("p", { class: "note" }, [...words.filter(Boolean), Number.isNaN(date.getTime()) ? "" : `${date.toISOString().slice(0, 16).replace("T", " ")} UTC`].filter(Boolean).join(" · "))), themeButton());
}

function chosen() {
  const labels = [...new Set(merged.flat().map((step) => step.label))];
  const knees = merged.map((steps) => kneeOf(steps)).filter(Boolean);
  return { labels, first: knees.length ? knees[knees.length - 1].label : labels[labels.length - 1] };
}

function caption(label) {
  const knee = merged.some((steps) => (kneeOf(steps) || {}).label === label);
  return many && el("p", { class: "caption" }, knee ? "At the knee, " : "Load: ", el("b", null, label));
}

function main() {
  startTheme();
  const { labels, first } = chosen();
  const [tileBox, detail, factBox] = ["div", "div", "div"].map((name) => el(name));
  const show = (label) => {
    tileBox.replaceChildren(...[caption(label), tiles(label)].filter(Boolean));
    detail.replaceChildren(...[distributionCard(label), ratioCard(label), ...heatCards(label), timeCards(label), ...stageCards(label)].filter(Boolean));
    factBox.replaceChildren(...facts(label));
  };
  const picker = labels.length > 1 && el("label", { class: "picker" }, "Details of ", el("select", { onchange: (event) => show(event.currentTarget.value) },
    labels.map((label) => el("option", { value: label, selected: label === first }, label))));
  const drawn = many ? curveCards().filter(Boolean) : [];
  const curves = many ? [drawn.length > 0 && el("div", { class: "cards curves" }, drawn), stepTable()] : [];
  fill(document.getElementById("report"), null, [head(), alarms(), tileBox, ...curves, picker, detail, factBox,
    el("footer", null, `ringlog-bench ${report.tool_version} · latency from the time each record was due · histograms merged, never averaged`)]);
  if (labels.length) show(first);
}
try {
  main();
} catch (error) {
  document.getElementById("report").append(el("p", { class: "alarm", role: "alert" }, `This page could not be drawn (${error}). The JSON report has all figures.`));
}
