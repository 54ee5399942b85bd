// The playground: up to two columns, each a conversation of its own with one model, streamed.
import { events } from "./sse.js";

const form = document.querySelector("[data-playground]");
if (form) start(form);

function start(form) {
  const [columns, send, stop, reset] = ["columns", "send", "stop", "reset"].map((name) => form.querySelector(`[data-${name}]`));
  const status = form.querySelector("[data-status]");
  const prompt = form.elements.prompt;
  let talks = [];
  let stopper = null;
  form.querySelector("[data-tip]").hidden = false;

  const arrange = () => {
    const names = [form.elements.model.value, form.elements.model_b.value].filter(Boolean);
    const same = talks.length === names.length && talks.every((talk, n) => talk.model === names[n]);
    if (same) return;
    // A column keeps its conversation as long as its model stays.
    talks = names.map((name, n) => (talks[n]?.model === name ? talks[n] : column(name)));
    columns.replaceChildren(...talks.map((talk) => talk.root));
  };

  const ask = async () => {
    const text = prompt.value.trim();
    if (!text || stopper) return;
    arrange();
    prompt.value = "";
    stopper = new AbortController();
    send.disabled = true;
    stop.hidden = false;
    reset.hidden = true;
    status.textContent = "Answering";
    const settings = parameters(form);
    await Promise.all(talks.map((talk) => answer(talk, text, settings, stopper.signal)));
    stopper = null;
    send.disabled = false;
    stop.hidden = true;
    reset.hidden = false;
    status.textContent = "Answered";
    prompt.focus();
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  prompt.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) ask();
    if (event.key === "Escape") stopper?.abort();
  });
  stop.addEventListener("click", () => stopper?.abort());
  reset.addEventListener("click", () => {
    talks = [];
    columns.replaceChildren();
    reset.hidden = true;
    prompt.focus();
  });
}

function parameters(form) {
  const settings = {};
  for (const name of ["temperature", "top_p", "max_tokens", "seed"]) {
    const value = form.elements[name].value;
    if (value !== "") settings[name] = Number(value);
  }
  return { settings, system: form.elements.system.value.trim() };
}

function column(model) {
  const root = make("section", "panel column");
  root.setAttribute("aria-label", model);
  const head = make("header");
  head.append(make("h2", "", model));
  const list = make("ol", "turns talk");
  const foot = make("footer");
  root.append(head, list, foot);
  return { model, root, list, foot, messages: [] };
}

function turn(talk, role, look = "") {
  const item = make("li", `turn ${role} ${look}`);
  const head = make("div", "head");
  head.append(make("span", "", role));
  const text = make("div", "text");
  item.append(head, text);
  talk.list.append(item);
  item.scrollIntoView({ block: "nearest" });
  return { item, text };
}

async function answer(talk, question, { settings, system }, signal) {
  talk.messages.push({ role: "user", content: question });
  turn(talk, "user").text.textContent = question;
  const shown = turn(talk, "assistant", "answer");
  shown.text.classList.add("caret");
  talk.foot.replaceChildren();
  const meter = { started: performance.now(), first: null, tokens: null, call: null, said: "" };
  try {
    const messages = system ? [{ role: "system", content: system }, ...talk.messages] : talk.messages;
    const body = { model: talk.model, messages, ...settings, stream: true, stream_options: { include_usage: true } };
    const response = await fetch("/playground/chat", {
      method: "POST",
      headers: { "content-type": "application/json", "x-csrf-token": document.body.dataset.csrf },
      body: JSON.stringify(body),
      signal,
    });
    meter.call = response.headers.get("x-loopwright-call-id");
    meter.about = about(response.headers);
    if (!response.ok) throw new Error(await reason(response));
    for await (const data of events(response.body)) {
      if (data === "[DONE]") break;
      take(JSON.parse(data), shown, meter);
    }
  } catch (error) {
    const stopped = signal.aborted;
    shown.item.append(make("p", stopped ? "quiet small" : "notice bad", stopped ? "Stopped." : error.message));
  }
  shown.text.classList.remove("caret");
  // What failed before a word came is no part of the conversation.
  if (meter.said) talk.messages.push({ role: "assistant", content: meter.said });
  else talk.messages.pop();
  summarise(talk.foot, meter);
}

function take(event, shown, meter) {
  if (event.error) throw new Error(event.error.message);
  if (event.usage) meter.tokens = event.usage;
  const choice = event.choices?.[0];
  if (choice?.finish_reason) meter.finish = choice.finish_reason;
  const delta = choice?.delta;
  if (!delta) return;
  const thought = delta.reasoning_content ?? delta.reasoning;
  if (thought || delta.content || delta.tool_calls) meter.first ??= performance.now();
  if (thought) reasoning(shown).append(thought);
  if (delta.content) {
    meter.said += delta.content;
    shown.text.append(delta.content);
  }
  if (delta.tool_calls) {
    for (const call of delta.tool_calls) shown.text.append(call.function?.name ? `\n${call.function.name} ` : "", call.function?.arguments ?? "");
  }
}

function reasoning(shown) {
  if (!shown.thought) {
    const box = make("details", "reasoning");
    box.open = true;
    box.append(make("summary", "", "Reasoning"));
    shown.thought = make("p");
    box.append(shown.thought);
    shown.text.before(box);
  }
  return shown.thought;
}

function summarise(foot, meter) {
  const total = performance.now() - meter.started;
  const parts = [];
  if (meter.first !== null) parts.push(`first token ${duration(meter.first - meter.started)}`);
  parts.push(`total ${duration(total)}`);
  if (meter.tokens) {
    const made = meter.tokens.completion_tokens;
    parts.push(`${meter.tokens.prompt_tokens} + ${made} tokens`);
    if (meter.first !== null && made > 1) {
      const speed = (made - 1) / ((performance.now() - meter.first) / 1000);
      parts.push(`${speed.toFixed(1)} tokens/s`);
    }
  }
  parts.push(...(meter.about ?? []));
  if (meter.finish && meter.finish !== "stop") parts.push(`finish: ${meter.finish}`);
  foot.replaceChildren(...parts.map((part) => make("span", "", part)));
  if (meter.call) {
    const link = make("a", "", "Open the call");
    link.href = `/calls/${encodeURIComponent(meter.call)}`;
    foot.append(link);
  }
}

// What answered, after how many attempts, and what the cache did.
function about(headers) {
  const said = (name) => headers.get(`x-loopwright-${name}`);
  const parts = [];
  if (said("model")) parts.push(`by ${said("provider") ?? ""}/${said("model")}`);
  if (said("attempts")) parts.push(`${said("attempts")} attempts`);
  if (said("cache")) parts.push(`cache ${said("cache")}`);
  if (said("budget")) parts.push(`budget ${said("budget")}`);
  return parts;
}

function duration(ms) {
  return ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

async function reason(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `the answer was HTTP ${response.status}`;
  }
}

function make(tag, look = "", text = "") {
  const element = document.createElement(tag);
  if (look) element.className = look.trim();
  if (text) element.textContent = text;
  return element;
}
