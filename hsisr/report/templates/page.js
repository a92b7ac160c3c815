// The page works without this script. It adds the enlarged view, the comparison slider, spectra of any pixel, lines that
// hide, and sorting.
"use strict";

for (const legend of document.querySelectorAll(".legend")) {
  const section = legend.closest("section.benchmark");
  legend.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const shown = button.getAttribute("aria-pressed") !== "true";
    for (const same of section.querySelectorAll(".legend button")) {
      if (same.dataset.model === button.dataset.model) same.setAttribute("aria-pressed", shown);
    }
    for (const line of section.querySelectorAll(".plot [data-model]")) {
      if (line.dataset.model === button.dataset.model) line.style.visibility = shown ? "" : "hidden";
    }
  });
}

// Press a heading to sort by its column; press again to turn the order around.
function sortable(table) {
  const body = table.tBodies[0];
  if (body.rows.length < 2) return;
  const valueOf = (cell) => {
    const text = cell.dataset.order ?? cell.textContent.trim();
    if (text.startsWith("\u221e")) return Infinity;
    const number = parseFloat(text.replace(/,/g, ""));
    return Number.isNaN(number) ? null : number;
  };
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const compareCells = (a, b) => {
        const [x, y] = [a, b].map((row) => row.cells[column]);
        if (column === 0) return x.textContent.trim().localeCompare(y.textContent.trim()) * (down ? -1 : 1);
        const [m, n] = [valueOf(x), valueOf(y)];
        if (m === null || n === null) return (m === null) - (n === null); // what has no number stays below
        return (m < n ? -1 : m > n ? 1 : 0) * (down ? -1 : 1);
      };
      body.append(...[...body.rows].sort(compareCells));
    });
  });
}
document.querySelectorAll("table.scores").forEach(sortable);

// The pictures of a scene as options, in a group a kind; the value of each is its index.
function offer(select, pictures) {
  for (const kind of new Set(pictures.map((picture) => picture.dataset.kind))) {
    const group = document.createElement("optgroup");
    group.label = kind;
    pictures.forEach((picture, index) => {
      if (picture.dataset.kind === kind) group.append(new Option(picture.dataset.column, index));
    });
    select.append(group);
  }
}

function compare(figure) {
  const pictures = [...figure.closest(".scene").querySelectorAll(".picture")];
  const [left, right] = [figure.querySelector(".left"), figure.querySelector(".right")];
  const stage = figure.querySelector(".stage");
  for (const side of ["over", "under"]) {
    const image = new Image();
    image.className = side;
    stage.prepend(image);
  }
  const range = stage.querySelector("input");
  for (const select of [left, right]) offer(select, pictures);
  const first = pictures.filter((picture) => picture.dataset.kind === pictures[0].dataset.kind);
  const indexOf = (column) => pictures.indexOf(first.find((picture) => picture.dataset.column === column));
  left.value = indexOf(figure.dataset.left);
  right.value = indexOf(figure.dataset.right);
  const show = () => {
    stage.style.setProperty("--cut", `${range.value}%`);
    const [a, b] = [left, right].map((select) => select.selectedOptions[0].text);
    range.setAttribute("aria-valuetext", `${Math.round(range.value)} percent ${a}, the rest ${b}`);
  };
  const load = () => {
    const sides = [[stage.querySelector(".over"), left], [stage.querySelector(".under"), right]];
    for (const [image, select] of sides) {
      const source = pictures[select.value].querySelector("img");
      image.src = source.src;
      image.alt = source.alt;
    }
    show();
  };
  range.addEventListener("input", show);
  left.addEventListener("change", load);
  right.addEventListener("change", load);
  load();
}
document.querySelectorAll(".compare").forEach(compare);

function svg(parent, name, attributes, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  parent.append(element);
  return element;
}

// Round numbers from low to high, about so many.
function ticks(low, high, most) {
  const raw = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 2.5, 5, 10].find((factor) => factor * power >= raw);
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high; k++) found.push(Number((k * step).toPrecision(6)));
  return found;
}

// Angle between two spectra, degrees.
function angle(a, b) {
  const dot = (x, y) => x.reduce((sum, value, band) => sum + value * y[band], 0);
  const cosine = dot(a, b) / Math.sqrt(Math.max(dot(a, a) * dot(b, b), Number.MIN_VALUE));
  return (Math.acos(Math.min(Math.max(cosine, -1), 1)) * 180) / Math.PI;
}

// The place of the plot of spectra within its SVG, in points, as in the plots beside it: values above, errors below.
const PLOT = { width: 259.2, height: 230.4, left: 41.8, right: 250, panels: [[6.9, 130], [145, 200.2]], font: 8.5 };

// A plot of lines over the bands. Returns what draws other values: for each panel, the values of each of its lines.
function bandPlot(place, data, lines) {
  const plot = svg(place, "svg", { viewBox: `0 0 ${PLOT.width} ${PLOT.height}`, role: "img", "font-size": PLOT.font });
  const title = svg(plot, "title", {});
  const axes = svg(plot, "g", {});
  const first = Math.min(...data.positions), span = Math.max(...data.positions) - first || 1;
  const x = (band) => PLOT.left + ((data.positions[band] - first) / span) * (PLOT.right - PLOT.left);
  const drawn = PLOT.panels.map((_, panel) => lines.filter((line) => panel === 0 || line.marker).map((line) => {
    const group = svg(plot, "g", { "data-model": line.name });
    const stroke = { fill: "none", stroke: line.color, "stroke-width": line.width, "stroke-linecap": "round" };
    return {
      ...line,
      curve: svg(group, "path", line.dashed ? { ...stroke, "stroke-dasharray": "3.6 2.9" } : stroke),
      marks: svg(group, "path", { fill: line.color, stroke: "var(--paper)", "stroke-width": 0.6 }),
    };
  }));
  const tick = (at, text, panel) => {
    if (panel === undefined) {
      const y = PLOT.panels[1][1] + 11;
      return svg(axes, "text", { x: at, y, "text-anchor": "middle" }, text);
    }
    svg(axes, "path", { d: `M${PLOT.left} ${at}H${PLOT.right}`, stroke: "var(--rule)", "stroke-width": 0.6 });
    return svg(axes, "text", { x: PLOT.left - 4, y: at + 3, "text-anchor": "end" }, text);
  };
  const name = (text, panel) => {
    const y = (PLOT.panels[panel][0] + PLOT.panels[panel][1]) / 2;
    svg(axes, "text", { x: 8, y, transform: `rotate(-90 8 ${y})`, "text-anchor": "middle" }, text);
  };
  return (values, chosen, label) => {
    axes.replaceChildren();
    title.textContent = label;
    plot.setAttribute("aria-label", label);
    const [top, bottom] = [PLOT.panels[0][0], PLOT.panels[1][1]];
    svg(axes, "path", { d: `M${x(chosen)} ${top}V${bottom}`, stroke: "var(--muted)", "stroke-width": 0.6 });
    for (const at of ticks(first, first + span, 5)) {
      tick(PLOT.left + ((at - first) / span) * (PLOT.right - PLOT.left), at);
    }
    svg(axes, "text", { x: (PLOT.left + PLOT.right) / 2, y: PLOT.height - 4, "text-anchor": "middle" },
      data.unit ? `Wavelength (${data.unit})` : "Band");
    PLOT.panels.forEach(([above, below], panel) => {
      const all = values[panel].flat();
      const margin = 0.05 * (Math.max(...all) - Math.min(...all)) || 1e-6;
      const low = Math.min(...all) - margin, height = Math.max(...all) + margin - low;
      const y = (value) => below - ((value - low) / height) * (below - above);
      for (const at of ticks(low, low + height, panel ? 4 : 5)) tick(y(at), at, panel);
      name(panel ? "Error" : "Value", panel);
      drawn[panel].forEach((line, k) => {
        const points = values[panel][k].map((value, band) => [x(band), y(value)]);
        const text = (list) => list.map(([a, b]) => `${a.toFixed(1)} ${b.toFixed(1)}`).join("L");
        line.curve.setAttribute("d", data.runs.map(([start, stop]) =>
          `M${text(points.slice(start, stop))}${stop - start === 1 ? "h0" : ""}`).join(""));
        const outline = ([a, b]) => line.marker.map(([dx, dy]) => [a + 3 * dx, b + 3 * dy]);
        line.marks.setAttribute("d", line.marker
          ? points.filter((_, band) => line.marked.includes(band)).map((point) => `M${text(outline(point))}Z`).join("")
          : "");
      });
    });
  };
}

// Spectra of the reference and of all models at one pixel: the one that the reader points at, presses, or moves to.
function probe(figure) {
  const data = JSON.parse(figure.querySelector("script").textContent);
  const [height, width] = data.size;
  const pictures = [...figure.closest(".scene").querySelectorAll(".picture")];
  const field = figure.querySelector(".field"), cross = field.querySelector(".cross");
  const band = figure.querySelector(".band input"), select = figure.querySelector("select");
  const models = data.models.map((model) => ({ ...model, color: `var(--line-${model.index})` }));
  const reference = { name: "reference", color: "var(--reference)", width: 3.5 };
  const draw = bandPlot(figure.querySelector(".plot"), data, [reference, ...models]);
  const image = new Image();
  field.prepend(image);

  const table = figure.querySelector(".readings"), body = table.tBodies[0];

  const spectraAt = ([row, column]) => {
    const text = atob(data.spectra[row * data.columns.length + column]);
    const view = new DataView(Uint8Array.from(text, (character) => character.charCodeAt(0)).buffer);
    const low = view.getFloat32(0, true), step = view.getFloat32(4, true);
    const count = data.positions.length;
    const codes = Array.from({ length: (1 + models.length) * count }, (_, k) => view.getUint16(8 + 2 * k, true));
    const values = codes.map((code) => low + step * code);
    return Array.from({ length: 1 + models.length }, (_, n) => values.slice(n * count, (n + 1) * count));
  };
  let kept = [data.rows.length >> 1, data.columns.length >> 1], shown = kept;

  const show = (place) => {
    shown = place;
    const [row, column] = [data.rows[place[0]], data.columns[place[1]]];
    cross.style.top = `${(100 * (row + 0.5)) / height}%`;
    cross.style.left = `${(100 * (column + 0.5)) / width}%`;
    const [truth, ...estimates] = spectraAt(place);
    const errors = estimates.map((spectrum) => spectrum.map((value, k) => value - truth[k]));
    const angles = estimates.map((spectrum) => angle(spectrum, truth).toFixed(2));
    const where = `Row ${row}, column ${column}`, chosen = Number(band.value);
    draw([[truth, ...estimates], errors], chosen, `Spectra at ${where.toLowerCase()}: values above, errors below`);
    const at = data.unit ? `${data.positions[chosen]} ${data.unit}` : `band ${data.positions[chosen]}`;
    band.setAttribute("aria-valuetext", at);
    table.caption.textContent = `${where}, at ${at}`;
    const digits = (value) => value.toFixed(4);
    [truth, ...estimates].forEach((spectrum, k) => {
      const error = errors[k - 1];
      const cells = [digits(spectrum[chosen]), ...(error
        ? [digits(error[chosen]), digits(Math.hypot(...error) / Math.sqrt(error.length)), `${angles[k - 1]}\u00b0`]
        : ["", "", ""])];
      cells.forEach((text, cell) => { body.rows[k].cells[cell + 1].textContent = text; });
    });
    const said = models.map((model, k) => `${model.name} ${angles[k]}`).join(", ");
    return `${where}. Spectral angle in degrees: ${said}`;
  };
  const keep = (place) => {
    kept = place;
    figure.querySelector("output").textContent = show(place);
  };
  const nearest = (event) => {
    const box = field.getBoundingClientRect();
    const index = (list, at) => Math.min(Math.max(Math.round((at - 0.5 - list[0]) / data.every), 0), list.length - 1);
    return [
      index(data.rows, ((event.clientY - box.top) / box.height) * height),
      index(data.columns, ((event.clientX - box.left) / box.width) * width),
    ];
  };
  const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  field.addEventListener("pointermove", (event) => { if (event.pointerType === "mouse") show(nearest(event)); });
  field.addEventListener("pointerleave", () => show(kept));
  field.addEventListener("click", (event) => keep(nearest(event)));
  field.addEventListener("keydown", (event) => {
    if (!(event.key in steps) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const move = (list, axis) =>
      Math.min(Math.max(kept[axis] + steps[event.key][axis] * (event.shiftKey ? 8 : 1), 0), list.length - 1);
    keep([move(data.rows, 0), move(data.columns, 1)]);
  });
  band.addEventListener("input", () => show(shown));
  offer(select, pictures);
  const load = () => {
    image.src = pictures[select.value].querySelector("img").src;
    image.alt = "";
  };
  select.value = pictures.findIndex((picture) => picture.dataset.column === "Reference");
  select.addEventListener("change", load);
  load();
  show(kept);
}
document.querySelectorAll(".probe").forEach(probe);

const viewer = document.getElementById("viewer");
const pane = viewer.querySelector(".pane");
const enlarged = new Image();
pane.append(enlarged);
let pictures = [], current = 0, zoom = 1;

function fitWidth() {
  const ratio = parseFloat(getComputedStyle(pictures[current]).getPropertyValue("--ratio"));
  return Math.min(pane.clientWidth, pane.clientHeight * ratio);
}

function display() {
  const source = pictures[current];
  enlarged.src = source.querySelector("img").src;
  enlarged.alt = source.querySelector("img").alt;
  viewer.querySelector(".name").textContent = `${source.dataset.kind}: ${source.dataset.column}`;
  resize(zoom);
}

function resize(factor) {
  const [x, y] = [pane.scrollLeft + pane.clientWidth / 2, pane.scrollTop + pane.clientHeight / 2];
  const change = factor / zoom;
  zoom = factor;
  const width = fitWidth() * zoom;
  enlarged.style.width = `${width}px`;
  pane.scrollTo(x * change - pane.clientWidth / 2, y * change - pane.clientHeight / 2);
}

const actions = {
  previous: () => { current = (current + pictures.length - 1) % pictures.length; display(); },
  next: () => { current = (current + 1) % pictures.length; display(); },
  in: () => resize(Math.min(zoom * 1.5, 40)),
  out: () => resize(Math.max(zoom / 1.5, 1)),
  fit: () => resize(1),
  close: () => viewer.close(),
};
const keys = { ArrowLeft: "previous", ArrowRight: "next", "+": "in", "=": "in", "-": "out", 0: "fit" };

document.addEventListener("click", (event) => {
  const picture = event.target.closest(".picture");
  if (!picture) return;
  pictures = [...picture.closest(".scene").querySelectorAll(".picture")];
  current = pictures.indexOf(picture);
  zoom = 1;
  viewer.showModal();
  display();
});
viewer.addEventListener("click", (event) => {
  const action = event.target.closest("[data-do]");
  if (action) actions[action.dataset.do]();
});
viewer.addEventListener("keydown", (event) => {
  if (event.key in keys && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    actions[keys[event.key]]();
  }
});
viewer.addEventListener("close", () => pictures[current].focus());
let drag = null;
pane.addEventListener("pointerdown", (event) => {
  if (event.pointerType !== "mouse") return;  // touch scrolls by itself
  drag = { x: event.clientX + pane.scrollLeft, y: event.clientY + pane.scrollTop };
  pane.setPointerCapture(event.pointerId);
  event.preventDefault();
});
pane.addEventListener("pointermove", (event) => {
  if (drag) pane.scrollTo(drag.x - event.clientX, drag.y - event.clientY);
});
pane.addEventListener("pointerup", () => { drag = null; });
