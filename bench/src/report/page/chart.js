// Axes and the line chart every curve is drawn with.

/** A scale maps values to 0..1: `at`, its `ticks` as [value, text], and the domain it settled on. */
function linear(min, max, write, want, binary) {
  min = Math.min(0, min);
  if (max <= min) max = min + 1;
  const raw = (max - min) / (want || 5);
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = binary ? 2 ** Math.ceil(Math.log2(raw)) : unit * [1, 2, 2.5, 5, 10].find((n) => n * unit >= raw * 0.999);
  const top = Math.ceil(max / step - 0.001) * step;
  const ticks = [];
  for (let n = 0; min + n * step <= top * 1.0001; n++) ticks.push([min + n * step, write(min + n * step)]);
  return { at: (v) => (v - min) / (top - min), ticks, min, max: top };
}

function log(min, max, write, tight) {
  min = Math.max(min, 1e-9);
  if (max <= min) max = min * 10;
  const marks = [];
  for (let n = Math.floor(Math.log10(min)); n <= Math.ceil(Math.log10(max)); n++) for (const m of [1, 2, 5]) marks.push(m * 10 ** n);
  const low = tight ? min : marks.filter((m) => m <= min * 1.0001).pop() || min;
  const high = tight ? max : marks.find((m) => m >= max * 0.9999) || max;
  const inside = marks.filter((m) => m >= low * 0.999 && m <= high * 1.001);
  const shown = inside.length > 9 ? inside.filter((m) => Math.abs(Math.log10(m) % 1) < 1e-6) : inside;
  const span = Math.log(high / low);
  return { at: (v) => Math.log(Math.max(v, low) / low) / span, ticks: shown.map((m) => [m, write(m)]), min: low, max: high };
}

/** Quantiles by the number of nines; the maximum stands at the end. */
function nines(max) {
  const named = [[0, "0 %"], [0.5, "50 %"], [0.9, "90 %"], [0.99, "99 %"], [0.999, "99.9 %"], [0.9999, "99.99 %"], [0.99999, "99.999 %"], [0.999999, "99.9999 %"], [0.9999999, "99.99999 %"]];
  const place = (q) => (q >= 1 ? max : Math.min(-Math.log10(1 - q), max));
  const at = (q) => place(q) / max;
  return { at, ticks: named.filter(([q]) => place(q) <= max * 0.97), min: 0, max: 1 };
}

const MARGIN = { top: 28, right: 16, bottom: 40, left: 62 };

function axes(x, y, width, height, labels) {
  const px = (v) => MARGIN.left + x.at(v) * (width - MARGIN.left - MARGIN.right);
  const py = (v) => height - MARGIN.bottom - y.at(v) * (height - MARGIN.top - MARGIN.bottom);
  const group = svg("g", { class: "axes" });
  for (const [v, text] of y.ticks) {
    group.append(svg("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: py(v), y2: py(v) }));
    group.append(svg("text", { x: MARGIN.left - 8, y: py(v) + 4, "text-anchor": "end" }, text));
  }
  let free = -99;
  for (const [v, text] of x.ticks) {
    const half = text.length * 3.3;
    const middle = Math.min(px(v), width - half - 2);
    group.append(svg("line", { class: "tick", x1: px(v), x2: px(v), y1: height - MARGIN.bottom, y2: height - MARGIN.bottom + 4 }));
    if (middle - half < free) continue;
    free = middle + half + 8;
    group.append(svg("text", { x: middle, y: height - MARGIN.bottom + 18, "text-anchor": "middle" }, text));
  }
  group.append(svg("text", { class: "label", x: (MARGIN.left + width - MARGIN.right) / 2, y: height - 4, "text-anchor": "middle" }, labels.x));
  return { group, px, py };
}

/** Vertical lines with numbers for what happened; the sentences are in their titles and below the chart. */
function eventMarks(events, px, height, min, max) {
  let [last, row] = [-99, 0];
  return events.map((event, at) => {
    if (event.at_s < min || event.at_s > max) return null;
    const x = px(event.at_s);
    row = Math.abs(x - last) < 17 ? row + 1 : 0;
    last = x;
    const y = MARGIN.top + row * 17;
    return svg("g", { class: "event" }, svg("title", null, `${seconds(event.at_s)}: ${event.what}`),
      svg("line", { x1: x, x2: x, y1: MARGIN.top, y2: height - MARGIN.bottom }),
      svg("circle", { cx: x, cy: y, r: 8 }), svg("text", { x, y: y + 4, "text-anchor": "middle" }, at + 1));
  });
}

const eventList = (events) => events.length > 0 && el("ol", { class: "events" }, events.map((event) => el("li", null, el("b", null, seconds(event.at_s)), ` ${event.what}`)));

/** The point of a series whose x is nearest. */
const nearest = (points, x, at) => points.reduce((best, point) => (Math.abs(at(point[0]) - x) < Math.abs(at(best[0]) - x) ? point : best), points[0]);

const pathOf = (points, px, py) => points.map(([x, y], at) => `${at ? "L" : "M"}${px(x).toFixed(1)} ${py(y).toFixed(1)}`).join("");

/**
 * options: label, x {scale(points), text, write}, y {scale(min, max), text, write}, series [{name, group, side, dash, thin, off, points, dots}] (one button a group),
 * lines [{y, text}], events, marks [{x, y, text, side}], height.
 */
function lineChart(options) {
  const series = options.series.filter((one) => one.points.length > 0);
  const plot = el("div", { class: "plot" });
  const tip = tooltip(plot);
  const visible = () => series.filter((one) => !one.off);
  let draw = () => {};
  const groupOf = (one) => one.group || one.name;
  const groups = [...new Map(series.map((one) => [groupOf(one), one])).values()];
  const legend = el("div", { class: "legend" }, groups.length > 1 && groups.map((one) => el("button", {
    type: "button", "aria-pressed": String(!one.off),
    onclick(event) {
      const off = !one.off;
      series.filter((other) => groupOf(other) === groupOf(one)).forEach((other) => { other.off = off; });
      event.currentTarget.setAttribute("aria-pressed", String(!one.off));
      draw();
    },
  }, svg("svg", { width: 26, height: 8, "aria-hidden": "true" }, svg("path", { class: `line s${one.side}`, d: "M0 4H26", "stroke-dasharray": one.dash })), groupOf(one))));

  function paint(width) {
    plot.querySelector("svg")?.remove();
    tip.hide();
    const height = options.height || Math.max(250, Math.min(380, width * 0.5));
    const shown = visible();
    const all = (shown.length ? shown : series).flatMap((one) => one.points);
    const lines = options.lines || [];
    const ys = all.map((point) => point[1]).concat(lines.map((line) => line.y));
    const x = options.x.scale(all);
    const y = options.y.scale(Math.min(...ys), Math.max(...ys));
    const { group, px, py } = axes(x, y, width, height, { x: options.x.text });
    const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", tabindex: "0", "aria-label": options.label }, svg("title", null, options.label), group);
    picture.append(svg("text", { class: "label", x: 0, y: 11 }, options.y.text));
    for (const line of lines) {
      const below = lines.some((other) => other.y > line.y && py(line.y) - py(other.y) < 20);
      picture.append(svg("line", { class: "floor", x1: MARGIN.left, x2: width - MARGIN.right, y1: py(line.y), y2: py(line.y) }));
      picture.append(svg("text", { class: "floor", x: MARGIN.left + 6, y: py(line.y) + (below ? 14 : -5) }, line.text));
    }
    for (const one of shown) {
      picture.append(svg("path", { class: `line s${one.side}${one.thin ? " thin" : ""}`, d: pathOf(one.points, px, py), "stroke-dasharray": one.dash }));
      if (one.dots) one.points.forEach((point) => picture.append(svg("circle", { class: `dot s${one.side}`, cx: px(point[0]), cy: py(point[1]), r: 3 })));
    }
    for (const mark of options.marks || []) {
      const right = px(mark.x) > width * 0.6;
      picture.append(svg("circle", { class: `ring s${mark.side}`, cx: px(mark.x), cy: py(mark.y), r: 8 }));
      picture.append(svg("text", { class: "mark", x: px(mark.x) + (right ? 4 : -4), y: py(mark.y) - 20, "text-anchor": right ? "end" : "start" }, mark.text));
    }
    picture.append(...eventMarks(options.events || [], px, height, x.min, x.max).filter(Boolean));
    const cursor = svg("g", { class: "cursor" });
    picture.append(cursor);
    plot.prepend(picture);
    listen(picture, cursor, { px, py, width, height, x });
  }

  function listen(picture, cursor, { px, py, width, height, x }) {
    const stops = [...new Set(visible().flatMap((one) => one.points.map((point) => point[0])))].sort((a, b) => a - b);
    let at = -1;
    const show = (value) => {
      const rows = visible().map((one) => [one, nearest(one.points, x.at(value), x.at)]);
      if (!rows.length) return;
      const line = svg("line", { x1: px(value), x2: px(value), y1: MARGIN.top, y2: height - MARGIN.bottom });
      cursor.replaceChildren(line, ...rows.map(([one, point]) => svg("circle", { class: `dot s${one.side}`, cx: px(point[0]), cy: py(point[1]), r: 4 })));
      tip.show(px(value), height / 2, [el("b", null, options.x.write(value)), ...groups.map((group) => {
        const values = rows.filter(([one]) => groupOf(one) === groupOf(group)).map(([, point]) => options.y.write(point[1]));
        return values.length ? el("div", null, swatch(group.side), ` ${groupOf(group)} `, el("b", null, values.join(", "))) : "";
      })]);
    };
    const hide = () => { cursor.replaceChildren(); tip.hide(); };
    picture.addEventListener("pointermove", (event) => {
      const where = (event.clientX - picture.getBoundingClientRect().left) / picture.getBoundingClientRect().width * width;
      const share = (where - MARGIN.left) / (width - MARGIN.left - MARGIN.right);
      if (!stops.length || share < -0.03 || share > 1.03) return hide();
      at = stops.indexOf(nearest(stops.map((stop) => [stop]), share, x.at)[0]);
      show(stops[at]);
    });
    picture.addEventListener("pointerleave", hide);
    picture.addEventListener("blur", hide);
    picture.addEventListener("keydown", (event) => {
      const move = { ArrowRight: 1, ArrowLeft: -1, PageUp: 10, PageDown: -10, Home: -1e9, End: 1e9 }[event.key];
      if (event.key === "Escape") hide();
      if (!move || !stops.length) return;
      event.preventDefault();
      at = Math.max(0, Math.min(stops.length - 1, at + move));
      show(stops[at]);
    });
  }

  draw = responsive(plot, paint);
  return el("div", { class: "chart" }, legend, plot, eventList(options.events || []));
}
