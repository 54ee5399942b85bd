// Rating by keys: 1 to 9 answer and go on, arrows choose, Enter sends, s skips, u takes back, n writes a note.

const page = document.querySelector("[data-rating]");
if (page) rating(page);

function rating(root) {
  const form = root.querySelector("form[data-rate]");
  const groups = form ? [...form.querySelectorAll("fieldset[data-criterion]")] : [];
  let at = 0;
  let sent = false;

  const choices = (group) => [...group.querySelectorAll("input[type=radio]")];
  const answered = (group) => choices(group).some((one) => one.checked);
  const whole = () => groups.length > 0 && groups.every(answered);
  const show = () => groups.forEach((group, n) => group.classList.toggle("now", n === at));

  // Once: a second press of a key must not fall on the next item.
  const send = (which) => {
    if (!which || sent || which.querySelector("button:disabled")) return;
    sent = true;
    which.requestSubmit();
  };
  const choose = (one) => {
    one.checked = true;
    if (document.activeElement?.type === "radio") document.activeElement.blur();
  };
  const step = (by) => {
    const all = choices(groups[at]);
    const now = all.findIndex((one) => one.checked);
    const next = now < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(Math.max(now + by, 0), all.length - 1);
    choose(all[next]);
  };
  const digit = (number) => {
    const one = choices(groups[at])[number - 1];
    if (!one) return;
    choose(one);
    const open = groups.findIndex((group) => !answered(group));
    if (open < 0) send(form);
    else at = open;
  };
  const note = (field) => {
    if (!field) return;
    field.closest("details").open = true;
    field.focus();
  };
  const acts = {
    ArrowLeft: () => groups.length && step(-1),
    ArrowRight: () => groups.length && step(1),
    ArrowUp: () => { at = Math.max(at - 1, 0); },
    ArrowDown: () => { at = Math.min(at + 1, Math.max(groups.length - 1, 0)); },
    Enter: () => { if (whole()) send(form); },
    s: () => send(root.querySelector("form[data-skip]")),
    u: () => send(root.querySelector("form[data-undo]")),
    n: () => note(root.querySelector("[data-note]")),
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (document.querySelector("dialog[open]")) return;
    const target = event.target instanceof Element ? event.target : null;
    if (target?.closest("textarea, input:not([type=radio]), select")) {
      if (event.key === "Escape") target.blur();
      return;
    }
    if (event.key === "Enter" && target?.closest("a, button, summary")) return;
    const act = /^[1-9]$/.test(event.key) ? () => groups.length && digit(Number(event.key)) : acts[event.key];
    if (!act) return;
    event.preventDefault();
    act();
    show();
  });
  // A page that comes back from the browser's memory is a new one.
  addEventListener("pageshow", () => { sent = false; });
  at = Math.max(groups.findIndex((group) => !answered(group)), 0);
  show();
  root.dataset.ready = "";
}
