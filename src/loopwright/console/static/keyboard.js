// Keys: / searches, j and k walk a list, g and a letter goes to a page, ? lists them.

const PAGES = { o: "/overview", c: "/calls", p: "/playground", m: "/models", r: "/routes", h: "/cache", t: "/batches", b: "/budgets", k: "/keys", v: "/reviews", w: "/prompts", l: "/collections", d: "/help" };

export function keyboard() {
  let going = false;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || writing(event.target)) return;
    if (document.querySelector("dialog[open]")) return;
    const key = event.key;
    if (going && PAGES[key]) {
      location.assign(PAGES[key]);
    } else if (key === "/") {
      search();
    } else if (key === "j" || key === "k") {
      walk(key === "j" ? 1 : -1);
    } else if (key === "?") {
      document.getElementById("shortcuts")?.showModal();
    } else {
      going = key === "g";
      return;
    }
    going = false;
    event.preventDefault();
  });
  if (location.hash === "#search") search();
}

function writing(target) {
  return target instanceof Element && target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]") !== null;
}

function search() {
  const field = document.querySelector("[data-search]");
  if (field) {
    field.focus();
    field.select();
  } else if (document.querySelector(".nav")) {
    location.assign("/calls#search");
  }
}

function walk(step) {
  const links = [...document.querySelectorAll("[data-list] a.go")];
  if (!links.length) return;
  const row = document.activeElement?.closest("tr");
  const at = row ? links.findIndex((link) => row.contains(link)) : -1;
  const next = at < 0 ? (step > 0 ? 0 : links.length - 1) : Math.min(Math.max(at + step, 0), links.length - 1);
  links[next].focus();
  links[next].scrollIntoView({ block: "nearest" });
}
