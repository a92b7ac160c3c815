// The page works without scripts. This one adds the enlarged view, the comparison slider, lines that hide, and sorting.
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
