// Spectra of any pixel that the page holds: the reader points at it, presses it, or moves to it with the arrow keys.

// Where the panels stand in the plot, in points, as in the plots beside it: values above, errors below.
const PLOT = { width: 259.2, height: 230.4, left: 41.8, right: 250, fontSize: 8.5 };
const PANELS = [
  { name: "Value", top: 6.9, bottom: 130, ticks: 5 },
  { name: "Error", top: 145, bottom: 200.2, ticks: 4 },
];

// A new element of an SVG.
function draw(parent, name, attributes, text = "") {
  const element = document.createElementNS(parent.namespaceURI, name);
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

// Angle between two spectra in degrees.
function angle(a, b) {
  const dot = (x, y) => x.reduce((sum, value, band) => sum + value * y[band], 0);
  const cosine = dot(a, b) / Math.sqrt(Math.max(dot(a, a) * dot(b, b), Number.MIN_VALUE));
  return (Math.acos(Math.min(Math.max(cosine, -1), 1)) * 180) / Math.PI;
}

function pathOf(points) {
  return `M${points.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}`;
}

// A plot of lines over the bands: a function that shows, for each panel, other values of its lines; null: no lines.
function bandPlot(plot, data, lines) {
  plot.setAttribute("viewBox", `0 0 ${PLOT.width} ${PLOT.height}`);
  plot.setAttribute("font-size", PLOT.fontSize);
  const axes = draw(plot, "g", {});
  const first = Math.min(...data.positions), last = Math.max(...data.positions);
  const x = (position) => PLOT.left + ((position - first) / (last - first || 1)) * (PLOT.right - PLOT.left);
  const grid = (d, stroke) => draw(axes, "path", { d, stroke, "stroke-width": 0.6 });
  const write = (text, place, anchor = "middle") => draw(axes, "text", { ...place, "text-anchor": anchor }, text);

  const drawn = PANELS.map((_, panel) => lines.filter((line) => panel === 0 || line.marker).map((line) => {
    const group = draw(plot, "g", { "data-model": line.name });
    const stroke = { fill: "none", stroke: line.color, "stroke-width": line.width, "stroke-linecap": "round" };
    return {
      curve: draw(group, "path", line.dashed ? { ...stroke, "stroke-dasharray": "3.6 2.9" } : stroke),
      marks: draw(group, "path", { fill: line.color, stroke: "var(--paper)", "stroke-width": 0.6 }),
      outline: ([left, top]) => (line.marker ?? []).map(([dx, dy]) => [left + 3 * dx, top + 3 * dy]),
      marked: line.marked ?? [],
    };
  }));

  const showPanel = ({ name, top, bottom, ticks: most }, values, shapes) => {
    const all = values.flat();
    const margin = 0.05 * (Math.max(...all) - Math.min(...all)) || 1e-6;
    const low = Math.min(...all) - margin, high = Math.max(...all) + margin;
    const y = (value) => bottom - ((value - low) / (high - low)) * (bottom - top);
    for (const value of ticks(low, high, most)) {
      grid(`M${PLOT.left} ${y(value)}H${PLOT.right}`, "var(--rule)");
      write(value, { x: PLOT.left - 4, y: y(value) + 3 }, "end");
    }
    const middle = (top + bottom) / 2;
    write(name, { x: 8, y: middle, transform: `rotate(-90 8 ${middle})` });
    shapes.forEach((shape, k) => {
      const points = values[k].map((value, band) => [x(data.positions[band]), y(value)]);
      const runs = data.runs.map(([start, stop]) => points.slice(start, stop));
      shape.curve.setAttribute("d", runs.map((run) => pathOf(run.length > 1 ? run : [...run, ...run])).join(""));
      shape.marks.setAttribute("d", shape.marked.map((band) => `${pathOf(shape.outline(points[band]))}Z`).join(""));
    });
  };
  return (values, band, label) => {
    axes.replaceChildren();
    plot.querySelector("title").textContent = label;
    plot.setAttribute("aria-label", label);
    grid(`M${x(data.positions[band])} ${PANELS[0].top}V${PANELS[1].bottom}`, "var(--muted)");
    for (const position of ticks(first, last, 5)) write(position, { x: x(position), y: PANELS[1].bottom + 11 });
    const below = { x: (PLOT.left + PLOT.right) / 2, y: PLOT.height - 4 };
    write(data.unit ? `Wavelength (${data.unit})` : "Band", below);
    PANELS.forEach((panel, k) => {
      if (values) return showPanel(panel, values[k], drawn[k]);
      for (const { curve, marks } of drawn[k]) for (const path of [curve, marks]) path.removeAttribute("d");
    });
  };
}

// A function that reads the spectra of a pixel, the reference first; null without data. The page packs them as
// `hsisr.report.probes` says.
function reader(data) {
  const bands = data.positions.length, lines = 1 + data.models.length;
  return ([row, column]) => {
    const packed = data.spectra[row * data.columns.length + column];
    if (packed === null) return null;
    const text = atob(packed);
    const view = new DataView(Uint8Array.from(text, (character) => character.charCodeAt(0)).buffer);
    const low = view.getFloat32(0, true), step = view.getFloat32(4, true);
    const value = (k) => low + step * view.getUint16(8 + 2 * k, true);
    return Array.from({ length: lines }, (_, n) => Array.from({ length: bands }, (_, band) => value(n * bands + band)));
  };
}

function probe(figure) {
  const data = JSON.parse(figure.querySelector("script").textContent);
  const [height, width] = data.size;
  const pictures = [...figure.closest(".scene").querySelectorAll(".picture")];
  const field = figure.querySelector(".field"), cross = field.querySelector(".cross");
  const band = figure.querySelector(".band input"), select = figure.querySelector("select");
  const models = data.models.map((model) => ({ ...model, color: `var(--line-${model.index})` }));
  const reference = { name: "reference", color: "var(--reference)", width: 3.5 };
  const plot = bandPlot(figure.querySelector(".plot svg"), data, [reference, ...models]);
  const table = figure.querySelector(".readings"), body = table.tBodies[0];
  const spectraAt = reader(data);
  let kept = [data.rows.length >> 1, data.columns.length >> 1], shown = kept;

  const show = (place) => {
    shown = place;
    const [row, column] = [data.rows[place[0]], data.columns[place[1]]];
    cross.style.top = `${(100 * (row + 0.5)) / height}%`;
    cross.style.left = `${(100 * (column + 0.5)) / width}%`;
    const where = `Row ${row}, column ${column}`, chosen = Number(band.value), spectra = spectraAt(place);
    if (spectra === null) {
      plot(null, chosen, `${where}: no data`);
      table.caption.textContent = `${where}: no data`;
      for (const line of body.rows) for (const cell of line.querySelectorAll("td")) cell.textContent = "";
      return `${where}: no data`;
    }
    const [truth, ...estimates] = spectra;
    const errors = estimates.map((spectrum) => spectrum.map((value, k) => value - truth[k]));
    const angles = estimates.map((spectrum) => angle(spectrum, truth).toFixed(2));
    plot([[truth, ...estimates], errors], chosen, `Spectra at ${where.toLowerCase()}: values above, errors below`);
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

  const image = new Image();
  image.alt = "";
  field.prepend(image);
  offer(select, pictures);
  const load = () => { image.src = pictures[select.value].querySelector("img").src; };
  select.value = pictures.findIndex((picture) => picture.dataset.column === "Reference");
  select.addEventListener("change", load);
  load();
  show(kept);
}
document.querySelectorAll(".probe").forEach(probe);
