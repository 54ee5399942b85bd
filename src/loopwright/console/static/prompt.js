// The editor of prompts: what a text becomes and how it differs is asked while it is written. Without it, "Check" does.
const form = document.querySelector("[data-prompt]");
if (form) start(form);

function start(form) {
  const text = form.querySelector("[data-text]");
  let timer = null;
  let asked = 0;
  form.querySelector("[data-tip]").hidden = false;

  const look = async () => {
    const turn = ++asked;
    const { name, base, scope } = form.dataset;
    const body = { text: text.value, ...(name ? { name, base } : {}) };
    let found;
    try {
      const response = await fetch(`/prompt-draft${scope}`, {
        method: "POST",
        headers: { "content-type": "application/json", "x-csrf-token": document.body.dataset.csrf },
        body: JSON.stringify(body),
      });
      found = await response.json();
      if (!response.ok) found = { problem: found.error?.message ?? `the answer was HTTP ${response.status}` };
    } catch {
      found = { problem: "Loopwright does not answer: what you wrote is only here." };
    }
    // An answer to an older text says nothing of this one.
    if (turn === asked) show(form, found);
  };

  text.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(look, 250);
  });
  text.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "Enter") look();
  });
}

function show(form, found) {
  const problem = form.querySelector("[data-problem]");
  problem.hidden = !found.problem;
  problem.textContent = found.problem ?? "";
  if (found.problem) return; // what was shown last stays
  form.querySelector("[data-shown]").replaceChildren(messages(found.messages));
  form.querySelector("[data-weights]").replaceChildren(...found.weights.map(weight));
  const place = form.querySelector("[data-diff]");
  if (!place || !found.diff) return;
  form.querySelector("[data-sum]").textContent = `+${found.diff.added} −${found.diff.removed} lines`;
  place.replaceChildren(found.diff.same ? make("p", "body quiet", "None.") : changes(found.diff));
}

function messages(found) {
  const list = make("ol", "turns");
  for (const { role, content } of found) {
    const item = make("li", `turn ${role}`);
    const head = make("div", "head");
    head.append(make("span", "", role));
    item.append(head, make("div", "text", content));
    list.append(item);
  }
  return list;
}

function weight({ model, tokens, estimated, input_cost_usd: cost }) {
  const row = make("tr");
  const price = cost === null ? "unpriced" : Number(cost) === 0 ? "$0" : `$${Number(cost).toPrecision(3)}`;
  row.append(make("td", "clip", model), make("td", "num", `${estimated ? "≈ " : ""}${tokens.toLocaleString("en")}`), make("td", "num", price));
  return row;
}

function changes({ lines }) {
  const looks = { "+": "come", "-": "gone", "@": "at" };
  const block = make("pre", "diff");
  block.tabIndex = 0;
  for (const { sign, text } of lines) block.append(make("span", looks[sign] ?? "", (sign === "@" ? "" : sign) + text), "\n");
  return block;
}

function make(tag, look = "", text = "") {
  const element = document.createElement(tag);
  if (look) element.className = look;
  if (text) element.textContent = text;
  return element;
}
