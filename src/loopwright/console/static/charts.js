// Values under the pointer, or under the arrow keys. They are read from the chart's own table.

const SVG = "http://www.w3.org/2000/svg";

export function charts() {
  for (const figure of document.querySelectorAll("[data-chart]")) attach(figure);
}

function attach(figure) {
  const svg = figure.querySelector(".plot");
  const rows = [...figure.querySelectorAll("tbody tr")];
  const names = [...figure.querySelectorAll("thead th")].map((cell) => cell.textContent);
  if (!rows.length || svg.querySelector(".none")) return;
  const left = Number(svg.dataset.left);
  const step = Number(svg.dataset.step);
  const cursor = document.createElementNS(SVG, "line");
  cursor.setAttribute("class", "cursor");
  cursor.setAttribute("y1", svg.dataset.top);
  cursor.setAttribute("y2", svg.dataset.base);
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  figure.append(tip);
  let at = -1;

  const show = (index) => {
    at = Math.min(Math.max(index, 0), rows.length - 1);
    const x = left + (at + 0.5) * step;
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    svg.append(cursor);
    svg.dataset.at = at;
    const cells = [...rows[at].cells].map((cell) => cell.textContent);
    const head = document.createElement("b");
    head.textContent = `${cells[0]} UTC`;
    tip.replaceChildren(head, ...cells.slice(1).map((value, n) => line(names[n + 1], value)));
    tip.hidden = false;
    const box = svg.getBoundingClientRect();
    const frame = figure.getBoundingClientRect();
    const px = box.left - frame.left + (x / svg.viewBox.baseVal.width) * box.width;
    // On the side where there is room.
    tip.style.left = px < frame.width / 2 ? `${px + 10}px` : "auto";
    tip.style.right = px < frame.width / 2 ? "auto" : `${frame.width - px + 10}px`;
  };
  const hide = () => {
    at = -1;
    delete svg.dataset.at;
    tip.hidden = true;
    cursor.remove();
  };

  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    if (x < left) hide();
    else show(Math.floor((x - left) / step));
  });
  svg.addEventListener("pointerleave", hide);
  svg.tabIndex = 0;
  svg.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    event.preventDefault();
    if (at < 0) show(event.key === "ArrowRight" ? 0 : rows.length - 1);
    else show(at + (event.key === "ArrowRight" ? 1 : -1));
  });
  svg.addEventListener("blur", hide);
}

function line(name, value) {
  const row = document.createElement("div");
  const label = document.createElement("span");
  const number = document.createElement("span");
  label.textContent = name;
  number.textContent = value;
  row.append(label, number);
  return row;
}
