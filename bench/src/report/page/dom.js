// Elements, always from text nodes; the theme; the tooltip.
const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}
const el = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);
const svg = (name, attributes, ...children) => fill(document.createElementNS(SVG, name), attributes, children);

/** A heading, a line of explanation and what belongs to it. */
function card(title, note, ...children) {
  return el("section", { class: "card" }, el("h2", null, title), note && el("p", { class: "note" }, note), children);
}

const swatch = (side) => el("i", { class: `swatch s${side}`, "aria-hidden": "true" });
const sideName = (side) => el("span", { class: "side" }, two && swatch(side), two && el("b", null, "AB"[side] || ""), report.sides[side].name);

/** A table; cells are strings, nodes, or lists of them. */
function table(heads, rows, cls) {
  const cell = (kind) => (content, at) => el(at ? kind : "th", at ? null : { scope: kind === "th" ? "col" : "row" }, content);
  return el("div", { class: "scroll", tabindex: "0" },
    el("table", { class: cls },
      heads && el("thead", null, el("tr", null, heads.map(cell("th")))),
      el("tbody", null, rows.map((row) => el("tr", null, row.map(cell("td")))))));
}

const root = document.documentElement;
function setTheme(theme) {
  root.dataset.theme = theme;
  try { localStorage.setItem("ringlog-bench-theme", theme); } catch { /* a file may have no storage */ }
}
function startTheme() {
  let theme = ["#dark", "#light"].includes(location.hash) ? location.hash.slice(1) : null;
  try { theme = theme || localStorage.getItem("ringlog-bench-theme"); } catch { /* as above */ }
  if (theme === "dark" || theme === "light") root.dataset.theme = theme;
}
function themeButton() {
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  return el("button", { class: "theme", type: "button", title: "Light or dark", "aria-label": "Switch between light and dark",
    onclick: () => setTheme(isDark() ? "light" : "dark") }, "◐");
}

/** A tooltip within `box`: show(x, y, nodes) in the box's pixels, hide(). */
function tooltip(box) {
  const tip = el("div", { class: "tip", role: "status", hidden: true });
  box.append(tip);
  return {
    show(x, y, nodes) {
      tip.hidden = false;
      tip.replaceChildren(...nodes);
      const left = x + 14 + tip.offsetWidth > box.clientWidth ? x - 14 - tip.offsetWidth : x + 14;
      tip.style.left = `${Math.max(0, Math.min(left, box.clientWidth - tip.offsetWidth))}px`;
      tip.style.top = `${Math.max(0, y - tip.offsetHeight / 2)}px`;
    },
    hide() { tip.hidden = true; },
  };
}

/** Draws again whenever the width changes. */
function responsive(box, draw) {
  let last = 0;
  const size = () => {
    const width = Math.round(box.clientWidth);
    if (width > 0 && width !== last) draw((last = width));
  };
  new ResizeObserver(size).observe(box);
  requestAnimationFrame(size);
  return () => last && draw(last);
}
