"use strict";

const at = (id) => document.getElementById(id);
const make = (name, text = "") => {
  const element = document.createElement(name);
  element.textContent = text;  // never markup: names come from data
  return element;
};

// Tables that sort

const number = (cell) => {
  const found = /^[^\d\u2212-]*([\u2212-]?\d+(\.\d+)?)/.exec(cell.textContent);
  return found ? Number(found[1].replace("\u2212", "-")) : NaN;
};

function sort(table, column, heading) {
  const rows = [...table.tBodies[0].rows];
  const cells = rows.map((row) => row.cells[column]);
  const numeric = column > 0 && cells.some((cell) => !Number.isNaN(number(cell)));
  const before = heading.getAttribute("aria-sort");
  // Of numbers the largest come first, of words the first in the alphabet.
  const up = before === null ? !numeric : before === "descending";
  const compare = (a, b) => {
    if (!numeric) return a.textContent.localeCompare(b.textContent) * (up ? 1 : -1);
    const [x, y] = [number(a), number(b)];
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
    return up ? x - y : y - x;
  };
  rows.sort((a, b) => compare(a.cells[column], b.cells[column]));
  table.tBodies[0].append(...rows);
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", up ? "ascending" : "descending");
}

for (const table of document.querySelectorAll("table.sorts")) {
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    const button = make("button", heading.textContent);
    button.type = "button";
    heading.replaceChildren(button);
    button.addEventListener("click", () => sort(table, column, heading));
    button.tabIndex = column ? -1 : 0;  // one stop a table, whatever its width
  });
  table.tHead.addEventListener("keydown", (event) => {
    const buttons = [...table.tHead.querySelectorAll("button")], last = buttons.length - 1;
    const now = buttons.indexOf(event.target);
    const to = { ArrowLeft: Math.max(0, now - 1), ArrowRight: Math.min(last, now + 1), Home: 0, End: last }[event.key];
    if (now < 0 || to === undefined) return;
    event.preventDefault();
    buttons[now].tabIndex = -1;
    buttons[to].tabIndex = 0;
    buttons[to].focus();
  });
}

// The two spaces

const data = JSON.parse(at("data").textContent);
const ORIGINAL = "both/original_rel";
const SIDES = ["left", "right"];
const GLYPHS = {
  "circle": "\u25cf", "square": "\u25a0", "triangle-up": "\u25b2", "diamond": "\u25c6",
  "triangle-down": "\u25bc", "cross": "\u271a", "x": "\u2716", "triangle-left": "\u25c0",
  "triangle-right": "\u25b6", "pentagon": "\u2b1f", "star": "\u2605",
};
// As cividis, from few to many: lightness alone tells them apart, and from white.
const FEW = [0, 34, 78], MANY = [160, 137, 40];
const ZOOMS = { "+": 0.8, "=": 0.8, "-": 1.25, "0": null };
const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
const touched = matchMedia("(pointer: coarse)").matches;  // there a drag scrolls the page
let hidden = new Set(), pointed = null;

const chosen = () => data.cells[Number(at("cell").value)];
const charts = (presence) => [...presence].flatMap((p, m) => (p === "1" ? [m + 1] : []));

function option(select, value, text) {
  const added = make("option", text);
  added.value = value;
  select.append(added);
}

function colourings() {
  const select = at("colouring"), before = select.value;
  select.replaceChildren();
  option(select, "class", "class");
  if (data.superclasses.length) option(select, "superclass", "superclass");
  option(select, "count", "number of charts");
  for (let m = 0; m < chosen().charts; m++) option(select, `chart ${m}`, `in chart ${m + 1}?`);
  select.value = before;
  if (!select.value) select.value = "class";
}

// The names that a colouring tells apart, their looks, and of each point which it is.
function categories(cell) {
  const by = at("colouring").value, labels = cell.samples.map((s) => data.labels[s]);
  const looks = (names) => names.map((name, c) => ({ name, colour: data.looks[c][0], symbol: data.looks[c][1] }));
  if (by === "class") return [looks(data.classes), labels];
  if (by === "superclass") return [looks(data.superclasses), labels.map((c) => data.groups[c])];
  if (by === "count") {
    const counts = cell.presence.map((p) => charts(p).length);
    const names = [...new Set(counts)].sort((a, b) => a - b);
    const mixed = (k) => FEW.map((few, i) => Math.round(few + (MANY[i] - few) * (names.length > 1 ? k / (names.length - 1) : 0)));
    const found = names.map((count, k) => ({
      name: `${count} of ${cell.charts} charts`, colour: `rgb(${mixed(k)})`, symbol: data.looks[k % data.looks.length][1],
    }));
    return [found, counts.map((count) => names.indexOf(count))];
  }
  const m = Number(by.split(" ")[1]);
  return [
    [{ name: `not in chart ${m + 1}'s task`, colour: "#767676", symbol: "circle-open" },
     { name: `in chart ${m + 1}'s task`, colour: "#0072B2", symbol: "diamond" }],
    cell.presence.map((p) => Number(p[m])),
  ];
}

function range(planes, axis) {
  let low = Infinity, high = -Infinity;
  for (const plane of planes) for (const v of plane[axis]) { low = Math.min(low, v); high = Math.max(high, v); }
  const margin = 0.04 * (high - low) || 1;
  return [low - margin, high + margin];
}

function spaces() { return { left: ORIGINAL, right: at("protocol").value }; }

function draw() {
  paint();
  legend(...categories(chosen()));
}

function paint() {
  const cell = chosen(), projection = at("projection").value, shown = spaces();
  const [kinds, of] = categories(cell);
  const planes = cell.planes[projection];
  for (const side of SIDES) {
    const plane = planes[shown[side]];
    // Axes that are shared have the same limits, whichever protocol is shown.
    const same = projection === "shared" ? Object.values(planes) : [plane];
    const traces = kinds.map((kind, k) => {
      const mine = of.flatMap((c, i) => (c === k ? [i] : []));
      return {
        type: "scatter", mode: "markers", hoverinfo: "none", name: String(k), customdata: mine,
        x: mine.map((i) => plane.x[i]), y: mine.map((i) => plane.y[i]), visible: !hidden.has(k),
        marker: { color: kind.colour, symbol: kind.symbol, size: 7, opacity: 0.85, line: { width: kind.symbol.endsWith("open") ? 1.2 : 0.4, color: kind.symbol.endsWith("open") ? kind.colour : "#ffffff" } },
      };
    });
    traces.push({
      type: "scatter", mode: "markers", hoverinfo: "skip", x: [], y: [],
      marker: { symbol: "circle-open", size: 18, color: "#000000", line: { width: 2.5 } },
    });
    const axis = (words, limits) => ({
      title: { text: words, font: { size: 12 } }, range: limits, showticklabels: false, ticks: "",
      zeroline: false, showgrid: false, fixedrange: false,
    });
    Plotly.react(side, traces, {
      showlegend: false, hovermode: "closest", hoverdistance: 12, dragmode: touched ? false : "pan",
      margin: { l: 30, r: 6, t: 6, b: 30 }, font: { family: "system-ui, sans-serif" },
      xaxis: axis(plane.axes[0], range(same, "x")), yaxis: axis(plane.axes[1], range(same, "y")),
    }, { responsive: true, displaylogo: false, displayModeBar: false });
    at(`${side}-title`).textContent = data.spaces[shown[side]];
  }
  describe(null);
}

function legend(kinds, of) {
  at("legend").replaceChildren(...kinds.map((kind, k) => {
    const button = make("button"), glyph = make("i", GLYPHS[kind.symbol.replace("-open", "")]);
    glyph.style.color = kind.colour;
    glyph.classList.toggle("open", kind.symbol.endsWith("-open"));
    glyph.setAttribute("aria-hidden", "true");
    button.type = "button";
    button.append(glyph, kind.name);
    button.title = `${of.filter((c) => c === k).length} samples`;
    button.setAttribute("aria-pressed", String(!hidden.has(k)));
    button.addEventListener("click", () => {
      if (!hidden.delete(k)) hidden.add(k);
      button.setAttribute("aria-pressed", String(!hidden.has(k)));  // it keeps the focus
      paint();
    });
    return button;
  }));
}

function show(all) {
  const buttons = [...at("legend").children];
  hidden = new Set(all ? [] : buttons.keys());
  for (const button of buttons) button.setAttribute("aria-pressed", String(all));
  paint();
}

// By keyboard: from sample to sample, and closer.

function press(event, side) {
  const { key } = event;
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (key in ZOOMS) zoom(side, ZOOMS[key]);
  else if (key === "Escape") describe(null);
  else if (key === "Home" || key in WAYS) step(side, WAYS[key]);
  else return;
  event.preventDefault();
}

function zoom(side, by) {
  const axes = {}, { xaxis, yaxis } = at(side)._fullLayout;
  const plane = chosen().planes[at("projection").value][spaces()[side]];
  for (const [name, axis, values] of [["xaxis", xaxis, plane.x], ["yaxis", yaxis, plane.y]]) {
    const [low, high] = axis.range;
    const middle = pointed === null ? (low + high) / 2 : values[pointed];
    const half = (by * (high - low)) / 2;
    axes[`${name}.range`] = [middle - half, middle + half];
  }
  if (by === null) paint();
  else Plotly.relayout(side, axes);
}

// The nearest shown sample that way; the first one where none is pointed at.
function step(side, way) {
  const { xaxis, yaxis } = at(side)._fullLayout;
  const shown = at(side).data.slice(0, -1).filter((trace) => trace.visible !== false);
  const points = shown.flatMap((t) => t.customdata.map((k, i) => [k, xaxis.l2p(t.x[i]), -yaxis.l2p(t.y[i])]));
  if (!points.length) return;
  const from = way && points.find(([k]) => k === pointed);
  if (!from) { describe(Math.min(...points.map(([k]) => k))); return; }
  let nearest = null, least = Infinity;
  for (const [k, x, y] of points) {
    const [dx, dy] = [x - from[1], y - from[2]];
    const along = dx * way[0] + dy * way[1], beside = Math.abs(dx * way[1] - dy * way[0]);
    const far = along + 2 * beside;
    if (along > 0 && beside <= 2 * along && far < least) [nearest, least] = [k, far];
  }
  if (nearest !== null) describe(nearest);
}

// What is pointed at: marked in both spaces, and described.
function describe(point) {
  pointed = point;
  const cell = chosen(), projection = at("projection").value, shown = spaces();
  for (const side of SIDES) {
    const plane = cell.planes[projection][shown[side]], plot = at(side);
    const mark = point === null ? { x: [[]], y: [[]] } : { x: [[plane.x[point]]], y: [[plane.y[point]]] };
    Plotly.restyle(side, mark, [plot.data.length - 1]);
  }
  const box = at("image");
  at("shown").classList.toggle("stays", point !== null);
  if (point === null) {
    at("facts").replaceChildren(make("dt", "sample"), make("dd", "none is pointed at"));
    box.style.backgroundImage = "none";
    box.removeAttribute("role");
    box.removeAttribute("aria-label");
    return;
  }
  const sample = cell.samples[point], label = data.labels[sample], all = cell.charts;
  const of = charts(cell.presence[point]), { columns, width, height } = data.sheet;
  const side = box.clientWidth, scale = side / Math.max(width, height);
  const row = Math.floor(sample / columns), column = sample % columns;
  box.style.width = `${width * scale}px`;
  box.style.height = `${height * scale}px`;
  box.style.backgroundImage = `url(${at("sheet").textContent})`;
  box.style.backgroundSize = `${columns * width * scale}px auto`;
  box.style.backgroundPosition = `${-column * width * scale}px ${-row * height * scale}px`;
  box.setAttribute("role", "img");
  box.setAttribute("aria-label", `image of ${data.ids[sample]}`);
  const facts = [["sample", data.ids[sample]], ["class", data.classes[label]]];
  if (data.superclasses.length) facts.push(["superclass", data.superclasses[data.groups[label]]]);
  const listed = of.length ? of.join(", ") : "none";
  facts.push(["in tasks of charts", `${listed} of ${all}`]);
  facts.push(["merged from charts", at("protocol").value === "blind/merged" ? `all ${all}` : listed]);
  at("facts").replaceChildren(...facts.flatMap(([name, value]) => [make("dt", name), make("dd", value)]));
}

async function unpack(id) {
  const bytes = Uint8Array.from(atob(at(id).textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

async function start() {
  data.cells.forEach((cell, k) => option(at("cell"), k, `${cell.name}: ${cell.title}`));
  for (const [name, words] of Object.entries(data.projections)) option(at("projection"), name, words);
  colourings();
  const script = document.createElement("script");
  script.textContent = await unpack("plotly");
  document.head.append(script);
  draw();
  for (const side of SIDES) {
    at(side).firstElementChild.setAttribute("aria-hidden", "true");
    const point = (event) => { if (event.points[0].customdata !== undefined) describe(event.points[0].customdata); };
    at(side).on("plotly_hover", point);
    at(side).on("plotly_click", point);
    at(side).addEventListener("keydown", (event) => press(event, side));
  }
  at("controls").addEventListener("change", (event) => {
    if (event.target.id === "cell") colourings();
    if (event.target.id === "cell" || event.target.id === "colouring") hidden = new Set();
    draw();
  });
  at("show-all").addEventListener("click", () => show(true));
  at("hide-all").addEventListener("click", () => show(false));
  document.documentElement.dataset.ready = "yes";
}

start().catch((error) => {
  at("trouble").hidden = false;
  at("trouble").textContent = `The spaces cannot be shown by this browser (${error}).`;
});
