// The drawer: asks without leaving the page. Quotes come first; an answer in words is streamed below them when wanted.
import { events } from "./sse.js";

const drawer = document.querySelector("[data-help]");
if (drawer) start(drawer);

function start(drawer) {
  const form = drawer.querySelector("form");
  const field = form.elements.q;
  const found = drawer.querySelector("[data-help-found]");
  let stopper = null;
  drawer.addEventListener("toggle", () => { if (drawer.open) field.focus(); });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !drawer.open || document.querySelector("dialog[open]")) return;
    stopper?.abort();
    drawer.open = false;
    drawer.querySelector("summary").focus();
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    stopper?.abort();
    stopper = new AbortController();
    const signal = stopper.signal;
    found.replaceChildren(make("p", "quiet small", "Looking …"));
    try {
      const response = await fetch(`/help.json?q=${encodeURIComponent(field.value)}`, { signal });
      const told = await response.json();
      if (!response.ok || !told.found) throw new Error(told.error?.message ?? told.error ?? "nothing can be asked here now");
      show(found, told.found, signal);
    } catch (error) {
      if (!signal.aborted) found.replaceChildren(make("p", "notice bad wrap", error.message));
    }
  });
}

function show(place, told, signal) {
  const parts = [];
  if (told.weak) {
    const note = make("p", "notice");
    note.append(make("strong", "", told.refusal), told.quotes.length ? " What comes nearest:" : "");
    parts.push(note);
  }
  const list = make("ol", "quotes");
  for (const quote of told.quotes) list.append(quoted(quote));
  const box = make("div", "stack");
  const button = make("button", "", "Write an answer");
  button.type = "button";
  button.addEventListener("click", () => write(box, told, signal), { once: true });
  box.append(button, make("p", "quiet small", `by ${told.writer}, from these passages; a model can be wrong where the quotes are not`));
  place.replaceChildren(...parts, list, box);
}

function quoted(quote) {
  const item = make("li");
  const head = make("p");
  const link = make("a", "", quote.title);
  link.href = quote.url;
  head.append(link, " ", make("span", "quiet small", [quote.heading, quote.page ? `page ${quote.page}` : ""].filter(Boolean).join(", ")));
  const text = make("blockquote", "", quote.before ? "… " : "");
  for (const [piece, marked] of quote.parts) text.append(marked ? make("mark", "", piece) : piece);
  if (quote.after) text.append(" …");
  item.append(head, text);
  return item;
}

async function write(box, told, signal) {
  const text = make("p", "said caret");
  box.replaceChildren(text);
  let retrieval = null;
  try {
    const response = await fetch("/playground/chat", {
      method: "POST",
      headers: { "content-type": "application/json", "x-csrf-token": document.body.dataset.csrf },
      body: JSON.stringify({ model: "task/docs-assistant", messages: [{ role: "user", content: told.question }], stream: true }),
      signal,
    });
    const call = response.headers.get("x-loopwright-call-id");
    if (!response.ok) throw new Error((await response.json()).error.message);
    for await (const data of events(response.body)) {
      if (data === "[DONE]") break;
      const event = JSON.parse(data);
      if (event.error) throw new Error(event.error.message);
      retrieval = event.loopwright?.retrieval ?? retrieval;
      text.append(event.choices?.[0]?.delta?.content ?? "");
    }
    after(box, retrieval, call);
  } catch (error) {
    if (!signal.aborted) box.append(make("p", "notice bad", error.message));
  }
  text.classList.remove("caret");
}

// Which passages it names; that it names none is said before it.
function after(box, retrieval, call) {
  const cited = (retrieval?.sources ?? []).filter((each) => each.cited);
  if (!cited.length && retrieval?.outcome !== "refused") box.prepend(make("p", "notice", "It names no passage: take it as a guess, and the quotes as the answer."));
  for (const each of cited) {
    const line = make("p", "small", `[${each.number}] `);
    const link = make("a", "", each.title);
    link.href = each.url;
    line.append(link);
    box.append(line);
  }
  if (!call) return;
  const link = make("a", "small", "Open the call");
  link.href = `/calls/${encodeURIComponent(call)}`;
  box.append(link);
}

function make(tag, look = "", text = "") {
  const element = document.createElement(tag);
  if (look) element.className = look;
  if (text) element.textContent = text;
  return element;
}
