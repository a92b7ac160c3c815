// The page works without this script; it adds the enlarged view, the comparison slider and lines that hide.
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

function compare(figure) {
  const pictures = [...figure.closest(".scene").querySelectorAll(".picture")];
  const [left, right] = [figure.querySelector(".left"), figure.querySelector(".right")];
  const stage = figure.querySelector(".stage");
  const range = stage.querySelector("input");
  for (const select of [left, right]) {
    for (const kind of new Set(pictures.map((picture) => picture.dataset.kind))) {
      const group = document.createElement("optgroup");
      group.label = kind;
      pictures.forEach((picture, index) => {
        if (picture.dataset.kind === kind) group.append(new Option(picture.dataset.column, index));
      });
      select.append(group);
    }
  }
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
const enlarged = pane.querySelector("img");
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
