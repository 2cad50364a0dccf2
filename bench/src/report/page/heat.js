// Latency over time: a column a second (or a tenth), a row a latency bucket, darker where more records were.
const LEVELS = 9;
const MAX_COLUMNS = 600;

/** Several columns become one where there are more than a screen shows. */
function condense(heat) {
  const every = Math.ceil(heat.columns.length / MAX_COLUMNS) || 1;
  const columns = [];
  heat.columns.forEach((cells, at) => {
    const into = (columns[Math.floor(at / every)] ||= new Map());
    for (const [bucket, count] of cells) into.set(bucket, (into.get(bucket) || 0) + count);
  });
  return { columns, interval: heat.interval_s * every, edges: heat.edges_us };
}

const upper = (edges, bucket) => edges[bucket + 1] || edges[bucket] * 1.2;

function heatMap(heat, shared, events, label) {
  const { columns, interval, edges } = condense(heat);
  const plot = el("div", { class: "plot" });
  const tip = tooltip(plot);
  const length = Math.max(columns.length, 1) * interval;
  const level = (count) => Math.min(LEVELS - 1, Math.floor((Math.log(count) / Math.log(shared.most + 1)) ** 1.5 * LEVELS));
  responsive(plot, (width) => {
    plot.querySelector("svg")?.remove();
    const height = Math.max(230, Math.min(300, width * 0.5));
    const x = linear(0, length, seconds, width < 420 ? 4 : 6);
    x.at = (v) => v / length;
    x.ticks = x.ticks.filter(([v]) => v <= length);
    const y = log(shared.low, shared.high, timeTick, true);
    const { group, px, py } = axes(x, y, width, height, { x: "seconds into the measurement" });
    const paths = Array.from({ length: LEVELS }, () => "");
    columns.forEach((cells, at) => {
      const left = px(at * interval).toFixed(1);
      const wide = (px((at + 1) * interval) - left).toFixed(1);
      for (const [bucket, count] of cells) {
        const [top, bottom] = [py(upper(edges, bucket)), py(edges[bucket])];
        paths[level(count)] += `M${left} ${top.toFixed(1)}h${wide}v${(bottom - top).toFixed(1)}h-${wide}z`;
      }
    });
    const cursor = svg("rect", { class: "cell", width: 0, height: 0 });
    const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", tabindex: "0", "aria-label": label }, svg("title", null, label),
      svg("text", { class: "label", x: 0, y: 11 }, "latency"), group, paths.map((d, at) => d && svg("path", { class: `h${at}`, d })), eventMarks(events, px, height, 0, length), cursor);
    plot.prepend(picture);

    const show = (at, bucket) => {
      const [left, top] = [px(at * interval), py(upper(edges, bucket))];
      fill(cursor, { x: left, y: top, width: px((at + 1) * interval) - left, height: py(edges[bucket]) - top }, []);
      tip.show(left, top, [el("b", null, `${whole(columns[at].get(bucket) || 0)} records`), el("div", null, `${time(edges[bucket])} to ${time(upper(edges, bucket))}`), el("div", null, `at ${seconds(at * interval)}`)]);
    };
    const hide = () => { cursor.setAttribute("width", 0); tip.hide(); };
    let [column, bucket] = [-1, 0];
    picture.addEventListener("pointermove", (event) => {
      const box = picture.getBoundingClientRect();
      const [mx, my] = [(event.clientX - box.left) / box.width * width, (event.clientY - box.top) / box.height * height];
      column = Math.floor((mx - MARGIN.left) / (width - MARGIN.left - MARGIN.right) * columns.length);
      bucket = [...(columns[column] || new Map()).keys()].find((one) => my >= py(upper(edges, one)) && my <= py(edges[one]));
      if (bucket === undefined) hide(); else show(column, bucket);
    });
    picture.addEventListener("pointerleave", hide);
    picture.addEventListener("blur", hide);
    picture.addEventListener("keydown", (event) => {
      const [dx, dy] = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key] || [0, 0];
      if (!dx && !dy) return;
      event.preventDefault();
      column = Math.max(0, Math.min(columns.length - 1, column + dx));
      const buckets = [...(columns[column] || new Map()).keys()].sort((a, b) => a - b);
      if (!buckets.length) return hide();
      bucket = dy ? (dy > 0 ? buckets.find((one) => one > bucket) : buckets.findLast((one) => one < bucket)) ?? bucket : buckets[buckets.length - 1];
      show(column, bucket);
    });
  });
  return plot;
}

function worstSecond({ worst_second: worst }) {
  return worst && el("p", { class: "note" }, `worst second: ${whole(worst.second)}, p99.9 ${time(worst.p999_us)}, p99 ${time(worst.p99_us)}; p99.9 of the second in the middle: ${time(worst.median_p999_us)}`);
}

function heatCards(label) {
  const steps = stepsOf(label);
  return ["transaction", "ack", "end_to_end", "fetch"].map((key) => {
    const shown = steps.map((step, side) => ({ step, side, latency: step && step.latencies[key] })).filter(({ latency }) => filled(latency) && latency.heat.columns.length);
    if (!shown.length) return null;
    const cells = shown.flatMap(({ latency }) => latency.heat.columns.flat().map(([bucket, count]) => [latency.heat.edges_us[bucket], upper(latency.heat.edges_us, bucket), count]));
    const of = (pick, at) => cells.reduce((best, cell) => pick(best, cell[at]), cells[0]?.[at] || 1);
    const shared = { low: of(Math.min, 0), high: of(Math.max, 1), most: of(Math.max, 2) };
    const ramp = el("span", { class: "ramp" }, "1 ", Array.from({ length: LEVELS }, (_, at) => svg("svg", { width: 14, height: 10, "aria-hidden": "true" }, svg("rect", { class: `h${at}`, width: 14, height: 10 }))), ` ${compact(shared.most)} records a cell`);
    return card(`Latency over time: ${nameOf(key)}`, ramp, el("div", { class: "pair" }, shown.map(({ step, side, latency }) =>
      el("div", null, two && el("h3", null, sideName(side)), worstSecond(latency), heatMap(latency.heat, shared, step.events, `${nameOf(key)} latency of ${report.sides[side].name} over time`), eventList(step.events)))));
  });
}
