// Zoom by dragging or with the keyboard, and the calls behind a point. All of it optional: legends and tables have links.

const SVG = "http://www.w3.org/2000/svg";
const MOVED = 5; // pixels from which a press is a drag

for (const figure of document.querySelectorAll("[data-panel]")) panel(figure);
forms();

function panel(figure) {
  const svg = figure.querySelector(".plot");
  const rows = [...figure.querySelectorAll("tbody tr")];
  const heads = [...figure.querySelectorAll("thead th")].slice(1);
  const entries = [...figure.querySelectorAll(".legend li")];
  const said = figure.querySelector("[data-said]");
  if (!rows.length || svg.querySelector(".none")) return;
  const left = Number(svg.dataset.left);
  const step = Number(svg.dataset.step);
  const box = document.createElementNS(SVG, "rect");
  box.setAttribute("class", "select");
  box.setAttribute("y", svg.dataset.top);
  box.setAttribute("height", svg.dataset.base - svg.dataset.top);
  let pressed = null; // where a drag began: {x, index, line}
  let from = -1; // where a selection by keyboard began
  let line = -1; // which line the keyboard has chosen; -1: all

  const clamp = (index) => Math.min(Math.max(index, 0), rows.length - 1);
  const indexAt = (event) => {
    const frame = svg.getBoundingClientRect();
    return clamp(Math.floor((((event.clientX - frame.left) / frame.width) * svg.viewBox.baseVal.width - left) / step));
  };
  const select = (a, b) => {
    const [low, high] = [Math.min(a, b), Math.max(a, b)];
    box.setAttribute("x", left + low * step);
    box.setAttribute("width", (high - low + 1) * step);
    svg.prepend(box);
  };
  const clear = () => { box.remove(); from = -1; };
  const zoom = (a, b) => {
    const [low, high] = [Math.min(a, b), Math.max(a, b)];
    go("/dashboards", figure.dataset.zoom, rows[low].dataset.since, rows[high].dataset.until);
  };
  const open = (index, which) => {
    // A head without calls of its own: the whole panel's; where there are none, no filter selects them.
    const head = heads[which];
    const query = head?.dataset.none === undefined ? head?.dataset.calls ?? figure.dataset.calls : undefined;
    if (query === undefined) { said.textContent = `No filter selects ${head ? `“${head.textContent}”` : "these"}.`; return; }
    go(figure.dataset.page, query, rows[index].dataset.since, rows[index].dataset.until);
  };
  const light = (which) => {
    entries.forEach((entry, at) => entry.classList.toggle("lit", at === which));
    const tip = figure.querySelector(".tip");
    if (tip) [...tip.querySelectorAll("div")].forEach((row, at) => row.classList.toggle("lit", at === which));
  };
  const lineOf = (event) => Number(event.target.closest?.("[data-line]")?.dataset.line ?? -1);

  svg.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    pressed = { x: event.clientX, index: indexAt(event), line: lineOf(event), far: false };
    svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointermove", (event) => {
    if (!pressed) { light(lineOf(event)); return; }
    if (Math.abs(event.clientX - pressed.x) > MOVED) pressed.far = true;
    if (pressed.far) select(pressed.index, indexAt(event));
  });
  svg.addEventListener("pointerup", (event) => {
    const began = pressed;
    pressed = null;
    if (!began) return;
    clear();
    if (began.far) zoom(began.index, indexAt(event));
    else open(began.index, began.line);
  });
  svg.addEventListener("pointercancel", () => { pressed = null; clear(); });
  svg.addEventListener("pointerleave", () => { if (!pressed) light(-1); });

  svg.addEventListener("keydown", (event) => {
    // charts.js walks with the arrows first and notes where it is.
    const at = Number(svg.dataset.at ?? -1);
    if (event.key === "Escape") { pressed = null; line = -1; light(-1); clear(); said.textContent = ""; }
    else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
      if (heads.length < 2) return;
      event.preventDefault();
      const turn = event.key === "ArrowDown" ? 1 : -1;
      line = ((line + 1 + turn + heads.length + 1) % (heads.length + 1)) - 1;
      light(line);
      said.textContent = line < 0 ? "all of them" : heads[line].textContent;
    } else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      light(line);
      if (!event.shiftKey) { clear(); tell(at); return; }
      if (from < 0) from = clamp(event.key === "ArrowRight" ? at - 1 : at + 1);
      select(from, at);
      said.textContent = `${Math.abs(at - from) + 1} steps selected; Enter zooms in`;
    } else if (event.key === "Enter" && at >= 0) {
      event.preventDefault();
      if (from >= 0) zoom(from, at);
      else open(at, line);
    }
  });
  svg.addEventListener("blur", () => { line = -1; light(-1); clear(); });

  function tell(at) {
    if (at < 0) return;
    const cells = [...rows[at].cells].map((cell) => cell.textContent);
    said.textContent = line < 0 ? cells.slice(0, 3).join(", ") : `${cells[0]}, ${heads[line].textContent}: ${cells[line + 1]}`;
  }
}

function go(path, query, since, until) {
  const params = new URLSearchParams(query);
  params.set("since", since);
  params.set("until", until);
  location.assign(`${path}?${params}`);
}

function forms() {
  for (const select of document.querySelectorAll("select[data-submit]")) {
    // Not while somebody walks through it with the keyboard: that is what the button is for.
    let keyed = false;
    select.addEventListener("keydown", () => { keyed = true; });
    select.addEventListener("pointerdown", () => { keyed = false; });
    select.addEventListener("change", () => { if (!keyed) select.form.requestSubmit(); });
  }
  const filter = document.querySelector("form[data-filter]");
  if (filter) {
    const field = filter.querySelector("[data-field]");
    const value = filter.querySelector("[data-value]");
    const name = () => { value.name = field.value; };
    field.addEventListener("change", name);
    name();
    filter.addEventListener("submit", () => {
      // In place of what was asked of the same field; a tag is one more.
      if (value.name !== "tag") for (const hidden of filter.querySelectorAll("input[type=hidden]")) if (hidden.name === value.name) hidden.remove();
    });
  }
  const add = document.querySelector("form[data-add]");
  if (add) {
    const measure = add.querySelector("[data-measure]");
    const own = add.querySelector("[data-own]");
    add.addEventListener("submit", (event) => {
      if (!own.value) return;
      event.preventDefault();
      const params = new URLSearchParams(new FormData(add));
      const shown = params.getAll("show");
      params.delete("show");
      for (const text of shown.slice(0, -1)) params.append("show", text);
      params.append("show", `${measure.value}@${own.value}`);
      location.assign(`${add.getAttribute("action")}?${params}`);
    });
  }
}
