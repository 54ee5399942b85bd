// A trace as a waterfall: only the rows in sight exist, so thirty thousand steps scroll as three do. Every text is set as
// text: names, errors and what was said come from programs anywhere.

const HEIGHT = 26;
const SPARE = 8;
const DEEP = 14;
const [ID, DEPTH, NAME, KIND, AT, TOOK, FLAGS, BELOW, COST, MODEL, ERROR, CALL, IN, OUT, OWN, SERVICE, COST_ALL, FAILED_ALL] = Array(18).keys();
const FAILED = 1, CRITICAL = 2, MISSING = 4, CUT = 8, TWICE = 16, INNER = 32, UNPRICED = 64, STRANGE = 128;
const KINDS = new Set(["llm", "embedding", "rerank", "retrieval", "tool", "agent", "workflow", "chain", "guardrail", "evaluator", "memory"]);

const root = document.querySelector("[data-waterfall]");
const source = document.getElementById("trace-rows");
if (root && source) start(JSON.parse(source.textContent));

function start({ trace, total, words, rows }) {
  const box = root.querySelector("[data-rows]");
  const space = root.querySelector("[data-space]");
  const axis = root.querySelector("[data-axis]");
  const panel = root.querySelector("[data-step]");
  const told = root.querySelector("[data-count]");
  const find = root.querySelector("[data-find]");
  const only = root.querySelector("[data-failed]");
  const folded = new Set();
  const parents = parentsOf(rows);
  const pool = new Map();
  let seen = [];
  let places = new Map();
  let chosen = -1;
  let from = 0, to = Math.max(total, 1);
  let asking = null;
  let due = false;

  root.querySelector("[data-tools]").hidden = false;

  function arrange() {
    const words_ = find.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = words_.length || only.checked ? matching(words_) : null;
    seen = [];
    for (let at = 0; at < rows.length;) {
      if (wanted && !wanted.has(at)) { at += 1; continue; }
      seen.push(at);
      at += folded.has(at) && !wanted ? rows[at][BELOW] + 1 : 1;
    }
    places = new Map(seen.map((at, place) => [at, place]));
    space.style.height = `${seen.length * HEIGHT}px`;
    told.textContent = seen.length === rows.length ? `${rows.length.toLocaleString("en")} steps` : `${seen.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} steps`;
    for (const element of pool.values()) element.remove();
    pool.clear();
    draw();
  }

  function matching(words_) {
    const found = new Set();
    rows.forEach((row, at) => {
      if (only.checked && !(row[FLAGS] & FAILED)) return;
      if (words_.length) {
        const text = `${words[row[NAME]]} ${words[row[KIND]]} ${words[row[MODEL]]} ${words[row[SERVICE]]}`.toLowerCase();
        if (!words_.every((word) => text.includes(word))) return;
      }
      for (let up = at; up >= 0 && !found.has(up); up = parents[up]) found.add(up);
    });
    return found;
  }

  function draw() {
    due = false;
    const first = Math.max(Math.floor(box.scrollTop / HEIGHT) - SPARE, 0);
    const last = Math.min(Math.ceil((box.scrollTop + box.clientHeight) / HEIGHT) + SPARE, seen.length);
    for (const [place, element] of pool) {
      if (place < first || place >= last) { element.remove(); pool.delete(place); }
    }
    const fresh = document.createDocumentFragment();
    for (let place = first; place < last; place += 1) {
      if (!pool.has(place)) {
        const element = line(seen[place], place);
        pool.set(place, element);
        fresh.append(element);
      }
    }
    space.append(fresh);
  }

  function later() {
    if (!due) { due = true; requestAnimationFrame(draw); }
  }

  function line(at, place) {
    const row = rows[at];
    const flags = row[FLAGS];
    const element = made("div", "fall-row");
    element.id = `step-${at}`;
    element.dataset.at = at;
    element.setAttribute("role", "row");
    element.setAttribute("aria-level", row[DEPTH] + 1);
    element.setAttribute("aria-selected", String(at === chosen));
    element.style.transform = `translateY(${place * HEIGHT}px)`;
    if (flags & FAILED) element.classList.add("failed");
    if (flags & (MISSING | INNER | TWICE)) element.classList.add("faint");
    const name = made("div", "fall-name");
    name.setAttribute("role", "gridcell");
    name.style.paddingLeft = `${Math.min(row[DEPTH], DEEP) * 12 + 4}px`;
    const fold = made("span", "fall-fold", row[BELOW] ? (folded.has(at) ? "▸" : "▾") : "");
    if (row[BELOW]) element.setAttribute("aria-expanded", String(!folded.has(at)));
    if (row[DEPTH] > DEEP) name.append(made("span", "quiet", `${row[DEPTH]} `));
    name.append(fold, made("span", `dot ${look(row)}`), made("span", "fall-text", words[row[NAME]] || "(no name)"));
    name.title = words[row[NAME]];
    if (folded.has(at)) name.append(made("span", "quiet", ` +${row[BELOW]}`));
    const track = made("div", "fall-track");
    track.setAttribute("role", "gridcell");
    const wide = to - from;
    const left = Math.min(Math.max((row[AT] - from) / wide, 0), 1);
    const right = Math.min(Math.max((row[AT] + row[TOOK] - from) / wide, 0), 1);
    if (row[AT] <= to && row[AT] + row[TOOK] >= from || flags & STRANGE) {
      const bar = made("div", `fall-mark ${look(row)}${flags & CRITICAL ? " waited" : ""}`);
      bar.style.left = `${Math.min(left * 100, 99.7)}%`;
      bar.style.width = `${Math.max((right - left) * 100, 0.3)}%`;
      track.append(bar);
    }
    const took = made("div", "fall-took", duration(row[TOOK]));
    took.setAttribute("role", "gridcell");
    const cost = made("div", "fall-cost", row[COST] ? dollars(row[COST]) : flags & UNPRICED ? "unpriced" : "");
    cost.setAttribute("role", "gridcell");
    element.append(name, track, took, cost);
    return element;
  }

  function look(row) {
    if (row[FLAGS] & FAILED) return "k-bad";
    const kind = words[row[KIND]];
    return `k-${KINDS.has(kind) ? kind : "other"}`;
  }

  function ticks() {
    axis.replaceChildren(made("div", "fall-name"));
    const track = made("div", "fall-track");
    const parts = Math.min(Math.max(Math.floor(box.clientWidth * 0.4 / 80), 1), 5);
    for (let part = 0; part < parts; part += 1) {
      const tick = made("span", "", duration(from + ((to - from) * part) / parts));
      tick.style.left = `${(part * 100) / parts}%`;
      track.append(tick);
    }
    axis.append(track, made("div", "fall-took", duration(to - from)), made("div", "fall-cost", "cost"));
  }

  function zoom(low, high) {
    from = low;
    to = Math.max(high, low + 1);
    ticks();
    for (const element of pool.values()) element.remove();
    pool.clear();
    draw();
  }

  function choose(at, { read = true } = {}) {
    if (at < 0 || at >= rows.length) return;
    const before = document.getElementById(`step-${chosen}`);
    before?.setAttribute("aria-selected", "false");
    chosen = at;
    const place = places.get(at);
    if (place === undefined) return;
    const top = place * HEIGHT;
    if (top < box.scrollTop) box.scrollTop = top;
    else if (top + HEIGHT > box.scrollTop + box.clientHeight) box.scrollTop = top + HEIGHT - box.clientHeight;
    draw();
    document.getElementById(`step-${at}`)?.setAttribute("aria-selected", "true");
    box.setAttribute("aria-activedescendant", `step-${at}`);
    facts(at);
    if (read) said(at);
  }

  function facts(at) {
    const row = rows[at];
    const flags = row[FLAGS];
    panel.hidden = false;
    if (!root.classList.contains("open")) { root.classList.add("open"); ticks(); }
    const head = made("header", "");
    const close = made("button", "bare", "Close");
    close.type = "button";
    close.addEventListener("click", () => { panel.hidden = true; root.classList.remove("open"); ticks(); box.focus(); later(); });
    head.append(made("h2", "anywhere", words[row[NAME]] || "(no name)"), close);
    const list = made("dl", "facts");
    const add = (name, value) => { if (value) list.append(made("dt", "", name), made("dd", "anywhere", value)); };
    add("kind", words[row[KIND]]);
    add("service", words[row[SERVICE]]);
    add("began after", duration(row[AT]));
    add("took", duration(row[TOOK]));
    if (row[BELOW]) add("of it its own", duration(row[OWN]));
    add("model", words[row[MODEL]]);
    if (row[IN] || row[OUT]) add("tokens", `${row[IN].toLocaleString("en")} in, ${row[OUT].toLocaleString("en")} out`);
    add("cost", row[COST] ? dollars(row[COST]) : flags & UNPRICED ? "unpriced" : "");
    if (row[BELOW]) {
      add("steps under it", row[BELOW].toLocaleString("en"));
      add("cost with them", row[COST_ALL] ? dollars(row[COST_ALL]) : "");
      add("failed under it", row[FAILED_ALL] ? row[FAILED_ALL].toLocaleString("en") : "");
    }
    const notes = [
      [MISSING, "Others name this span as their parent, and it was not received."],
      [CUT, "It named a parent inside itself: that tie was cut."],
      [TWICE, "The call under it is this very call, as this house saw it: that one is counted."],
      [INNER, "A request inside the call above, which counts it. When it began is not on record."],
      [STRANGE, "It lies so far from the others in time that a clock must be wrong."],
    ].filter(([bit]) => flags & bit).map(([, text]) => made("p", "quiet small", text));
    const links = made("p", "row small");
    if (row[CALL]) links.append(link(`/calls/${encodeURIComponent(row[CALL])}`, "Open the call"));
    if (!(flags & MISSING)) links.append(link(`/traces/${trace}/spans/${encodeURIComponent(row[ID])}?call=${encodeURIComponent(row[CALL])}`, "Its own page"));
    const body = made("div", "body stack");
    body.append(list, ...notes);
    if (words[row[ERROR]]) body.append(made("div", "notice bad", words[row[ERROR]]));
    body.append(links, made("div", "fall-said"));
    panel.replaceChildren(head, body);
  }

  async function said(at) {
    asking?.abort();
    asking = new AbortController();
    if (rows[at][FLAGS] & MISSING) return;
    const place = panel.querySelector(".fall-said");
    const wait = setTimeout(() => { place.replaceChildren(made("p", "quiet", "Reading …")); }, 300);
    try {
      const answer = await fetch(`/traces/${trace}/spans/${encodeURIComponent(rows[at][ID])}.json?call=${encodeURIComponent(rows[at][CALL])}`, { signal: asking.signal });
      const step = await answer.json();
      if (!answer.ok) throw new Error(step.error?.message ?? answer.statusText);
      const parts = step.sealed ? [made("p", "quiet", `Its texts are ${step.sealed}.`)] : [];
      for (const part of step.parts) {
        if (part.title === "Failure") continue;
        const text = made("pre", "wrap raw", part.text);
        text.tabIndex = 0;
        parts.push(made("h3", "", part.title), text);
      }
      place.replaceChildren(...(parts.length ? parts : [made("p", "quiet", "Nothing was said of this step.")]));
    } catch (error) {
      if (error.name !== "AbortError") place.replaceChildren(made("p", "wrong", error.message));
    } finally {
      clearTimeout(wait);
    }
  }

  function toggle(at, close = !folded.has(at)) {
    if (!rows[at][BELOW] || close === folded.has(at)) return false;
    if (close) folded.add(at);
    else folded.delete(at);
    arrange();
    return true;
  }

  function walk(step) {
    const place = places.get(chosen);
    const next = place === undefined ? 0 : Math.min(Math.max(place + step, 0), seen.length - 1);
    slowly(seen[next]);
  }

  let pending = 0;
  function slowly(at) {
    // Whoever holds an arrow down does not ask the server for each step on the way.
    choose(at, { read: false });
    clearTimeout(pending);
    pending = setTimeout(() => said(at), 180);
  }

  function nextFailure() {
    for (let step = 1; step <= rows.length; step += 1) {
      const at = (Math.max(chosen, -1) + step) % rows.length;
      if (rows[at][FLAGS] & FAILED) {
        let changed = false;
        for (let up = parents[at]; up >= 0; up = parents[up]) changed = folded.delete(up) || changed;
        if (changed) arrange();
        choose(at);
        return;
      }
    }
  }

  const page = () => Math.max(Math.floor(box.clientHeight / HEIGHT) - 1, 1);
  const keys = {
    ArrowDown: () => walk(1),
    ArrowUp: () => walk(-1),
    PageDown: () => walk(page()),
    PageUp: () => walk(-page()),
    Home: () => slowly(seen[0]),
    End: () => slowly(seen[seen.length - 1]),
    ArrowLeft: () => { if (chosen >= 0 && !toggle(chosen, true) && parents[chosen] >= 0) slowly(parents[chosen]); },
    ArrowRight: () => { if (chosen >= 0 && !toggle(chosen, false)) walk(1); },
    Enter: () => { if (chosen >= 0) { choose(chosen); panel.querySelector("button")?.focus(); } },
    z: () => { if (chosen >= 0) zoom(rows[chosen][AT], rows[chosen][AT] + rows[chosen][TOOK]); },
    Z: () => zoom(0, Math.max(total, 1)),
    f: nextFailure,
  };
  box.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    event.stopPropagation();
    keys[event.key]();
  });
  box.addEventListener("click", (event) => {
    const row = event.target.closest(".fall-row");
    if (!row) return;
    const at = Number(row.dataset.at);
    if (event.target.closest(".fall-fold")) toggle(at);
    else choose(at);
  });
  box.addEventListener("dblclick", (event) => {
    const row = event.target.closest(".fall-row");
    if (row) { const found = rows[Number(row.dataset.at)]; zoom(found[AT], found[AT] + found[TOOK]); }
  });
  panel.addEventListener("keydown", (event) => { if (event.key === "Escape") panel.querySelector("button").click(); });
  box.addEventListener("scroll", later, { passive: true });
  addEventListener("resize", () => { ticks(); later(); });
  find.addEventListener("input", arrange);
  only.addEventListener("change", arrange);
  root.querySelector("[data-fold]").addEventListener("click", () => {
    rows.forEach((row, at) => { if (row[BELOW] && row[DEPTH] > 0) folded.add(at); });
    arrange();
  });
  root.querySelector("[data-unfold]").addEventListener("click", () => { folded.clear(); arrange(); });
  root.querySelector("[data-whole]").addEventListener("click", () => zoom(0, Math.max(total, 1)));

  box.style.height = `${Math.max(rows.length, 4) * HEIGHT + 4}px`;
  ticks();
  arrange();
}

function parentsOf(rows) {
  const path = [];
  return rows.map((row, at) => {
    path.length = row[DEPTH];
    path.push(at);
    return row[DEPTH] ? path[row[DEPTH] - 1] : -1;
  });
}

function made(tag, look, text) {
  const element = document.createElement(tag);
  if (look) element.className = look;
  if (text !== undefined) element.textContent = text;
  return element;
}

function link(address, text) {
  const element = made("a", "", text);
  element.href = address;
  return element;
}

function duration(us) {
  const ms = us / 1000;
  if (Math.abs(us) < 1000) return `${Math.round(us)} µs`;
  if (Math.abs(ms) < 1000) return `${ms.toPrecision(3)} ms`;
  const seconds = ms / 1000;
  if (Math.abs(seconds) < 60) return `${seconds.toFixed(2)} s`;
  const minutes = Math.trunc(seconds / 60);
  if (Math.abs(minutes) < 100) return `${minutes} min ${Math.round(Math.abs(seconds) % 60)} s`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

function dollars(nano) {
  const value = nano / 1e9;
  if (!value) return "$0";
  if (value >= 0.1) return `$${value.toFixed(2)}`;
  return `$${value.toFixed(Math.min(2 - Math.floor(Math.log10(value)), 12)).replace(/0+$/, "")}`;
}
